package mirror_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

// Settings with which the first emoji would stop a walk, or nothing would be stored, are reported at once.
func TestConnectionsOfMySQL(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]string{
		"?charset=utf8":                 "the connection has the character set utf8",
		"?charset=gbk":                  "the connection has the character set gbk",
		"?autocommit=0":                 "the connection has autocommit off",
		"?charset=utf8mb4":              "",
		"?collation=utf8mb4_unicode_ci": "",
		"?clientFoundRows=true&interpolateParams=true&parseTime=true&loc=Asia%2FShanghai": "",
		"?sql_mode=%27NO_BACKSLASH_ESCAPES,ANSI_QUOTES%27&interpolateParams=true":         "",
	} {
		err := newSQLStore(t, openMariaDBWith(t, params), mirror.MySQL).Open(t.Context(), "wxFAKE000000000000")
		if want == "" {
			require.NoError(t, err, params)
			continue
		}
		require.ErrorContains(t, err, want, params)
	}
}

// A profile that is no profile of the platform's does not stop a walk.
func TestOddProfiles(t *testing.T) {
	t.Parallel()
	forEachDatabase(t, func(t *testing.T, d database) {
		s := newSQLStore(t, d.open(t), d.dialect)
		require.NoError(t, s.Open(t.Context(), "wxFAKE000000000000"))
		var statements []mirror.Statement
		for i, u := range []wechatuser.UserInfo{
			{SubscribeTime: math.MaxInt64},
			{SubscribeTime: math.MinInt64},
			{SubscribeTime: 1_700_000_000_000}, // milliseconds
			{QRScene: math.MaxInt64, TagIDList: make([]int, 10_000)},
			{QRScene: math.MinInt64, QRSceneStr: strings.Repeat("\xff", 100_000)},
			{UnionID: strings.Repeat("长", 1000), Remark: strings.Repeat("😀", 100_000)},
			{SubscribeScene: wechatuser.SubscribeScene(strings.Repeat("\x00\xff", 100_000))},
		} {
			u.OpenID, u.Subscribe = fmt.Sprint("oFAKE", i), 1
			statements = append(statements, mirror.Statement{Ticket: 1, At: time.Now(), OpenID: u.OpenID, Profile: &u})
		}
		require.NoError(t, s.Put(t.Context(), statements))
		followers, _, err := s.Count(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, len(statements), followers)
		require.NoError(t, s.Put(t.Context(), []mirror.Statement{{Ticket: 2, At: time.Now(), LeftAt: time.Now(),
			OpenID: "oFAKE0\x00\xff"}}))
	})
}
