package wire

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// unknownFields is the type of a struct field that holds the JSON fields unknown to the struct.
type unknownFields = map[string]json.RawMessage

// MarshalWithUnknown is [Marshal] for a struct with a field for unknown fields, see [Unmarshal]. The unknown fields
// follow the others, sorted by name. An unknown field with the name of another field, or of a field of [Envelope], is
// left out.
func MarshalWithUnknown(v any) ([]byte, error) {
	body, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	value := reflect.ValueOf(v)
	o := readerOf(value.Type()).object
	unknown := value.FieldByIndex(o.unknown).Interface().(unknownFields)
	if len(unknown) == 0 {
		return body, nil
	}
	body = body[:len(body)-1]
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		if o.lookup([]byte(name)) != nil || isEnvelope(name) {
			continue
		}
		member, err := Marshal(unknownFields{name: unknown[name]})
		if err != nil {
			return nil, err
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, member[1:len(member)-1]...)
	}
	return append(body, '}'), nil
}
