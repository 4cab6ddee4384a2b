package bodies

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The decoders are compared on what they all can do: to return what encoding/json returns.
func TestResultsAreThoseOfEncodingJSON(t *testing.T) {
	for _, body := range All() {
		for _, d := range Decoders {
			got, err := body.Decode(d)
			if body.Raw {
				assert.Equal(t, d.Name == "wechatuser", err == nil, "%s of %s", d.Name, body.Name)
				continue
			}
			require.NoError(t, err)
			want, err := body.Decode(Decoder{Decode: json.Unmarshal})
			require.NoError(t, err)
			assert.Equal(t, want, got, "%s of %s", d.Name, body.Name)
		}
	}
}
