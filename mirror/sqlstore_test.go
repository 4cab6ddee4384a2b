package mirror_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/mirror/mirrortest"
)

func newSQLStore(t *testing.T, db *sql.DB, dialect mirror.Dialect, opts ...mirror.SQLOption) *mirror.SQLStore {
	t.Helper()
	s, err := mirror.NewSQLStore(db, dialect, opts...)
	require.NoError(t, err)
	return s
}

// followersIn returns the followers that the default table has.
func followersIn(t *testing.T, db *sql.DB, d database) (users []wechatuser.UserInfo) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT openid, unionid, remark, tags, scene, qr_scene, qr_scene_str, "+
		"COALESCE("+fmt.Sprintf(d.seconds, "subscribed_at")+", 0), CASE WHEN profile_at IS NULL THEN 0 ELSE 1 END "+
		"FROM wechat_followers WHERE left_at IS NULL")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var u wechatuser.UserInfo
		var tags string
		require.NoError(t, rows.Scan(&u.OpenID, &u.UnionID, &u.Remark, &tags, &u.SubscribeScene, &u.QRScene, &u.QRSceneStr,
			&u.SubscribeTime, &u.Subscribe))
		require.NoError(t, json.Unmarshal([]byte(tags), &u.TagIDList))
		if len(u.TagIDList) == 0 {
			u.TagIDList = nil
		}
		users = append(users, u)
	}
	require.NoError(t, rows.Err())
	return users
}

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	mirrortest.Run(t, mirrortest.Config{
		New: func(*testing.T) mirror.Store { return new(mirror.MemoryStore) },
		Followers: func(_ *testing.T, s mirror.Store) []wechatuser.UserInfo {
			return s.(*mirror.MemoryStore).Followers()
		},
	})
}

func TestSQLStore(t *testing.T) {
	t.Parallel()
	forEachDatabase(t, func(t *testing.T, d database) {
		databaseOf := map[mirror.Store]*sql.DB{}
		mirrortest.Run(t, mirrortest.Config{
			New: func(t *testing.T) mirror.Store {
				t.Helper()
				db := d.open(t)
				s := newSQLStore(t, db, d.dialect)
				databaseOf[s] = db
				return s
			},
			Followers: func(t *testing.T, s mirror.Store) []wechatuser.UserInfo {
				t.Helper()
				return followersIn(t, databaseOf[s], d)
			},
		})
	})
}
