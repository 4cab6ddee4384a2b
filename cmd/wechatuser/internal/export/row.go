package export

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// beijing is the time zone of all times in tables, so that they do not depend on the machine.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// row is one follower.
type row struct {
	user wechatuser.UserInfo
	tags []string // names of user.TagIDList
	err  string   // why there is only an openid; empty if there is a profile
}

// columns are the columns of the CSV file and the database table.
var columns = []struct {
	name, sqlType string
	value         func(row) any
}{
	{"openid", "TEXT NOT NULL UNIQUE", func(r row) any { return r.user.OpenID }},
	{"unionid", "TEXT", func(r row) any { return r.user.UnionID }},
	{"subscribe", "INTEGER", func(r row) any { return r.user.Subscribe }},
	{"subscribe_time", "TEXT", func(r row) any { return beijingTime(r.user.SubscribedAt()) }},
	{"subscribe_scene", "TEXT", func(r row) any { return string(r.user.SubscribeScene) }},
	{"qr_scene", "INTEGER", func(r row) any { return r.user.QRScene }},
	{"qr_scene_str", "TEXT", func(r row) any { return r.user.QRSceneStr }},
	{"remark", "TEXT", func(r row) any { return r.user.Remark }},
	{"tagid_list", "TEXT", func(r row) any { return joinIDs(r.user.TagIDList) }},
	{"tags", "TEXT", func(r row) any { return strings.Join(r.tags, ";") }},
	{"error", "TEXT", func(r row) any { return r.err }},
}

func columnNames() []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// value returns the value of a column, or nil if it is unknown. A rejected profile has only openid and error.
func (r row) value(column int) any {
	if r.err != "" && column > 0 && column < len(columns)-1 {
		return nil
	}
	return columns[column].value(r)
}

// newRow returns the row for a result of [wechatuser.Client.BulkUserInfo]. It returns an error unless err is nil or
// about a single follower.
func newRow(user wechatuser.UserInfo, err error, tagNames map[int]string) (row, error) {
	if rejected := (*wechatuser.OpenIDError)(nil); errors.As(err, &rejected) {
		return row{user: wechatuser.UserInfo{OpenID: rejected.OpenID}, err: reason(rejected.Err)}, nil
	}
	if err != nil {
		return row{}, err
	}
	r := row{user: user, tags: make([]string, len(user.TagIDList))}
	for i, id := range user.TagIDList {
		r.tags[i] = cmp.Or(tagNames[id], strconv.Itoa(id)) // a tag created in the meantime has no name here
	}
	return r, nil
}

// reason returns why a profile was rejected. It omits the rid, so that the text is the same each time.
func reason(err error) string {
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		return strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, cmp.Or(e.Code.Text(), e.Code.Meaning())))
	}
	return err.Error()
}

func beijingTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(beijing).Format(time.DateTime)
}

func joinIDs(ids []int) string {
	var b []byte
	for i, id := range ids {
		if i > 0 {
			b = append(b, ';')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return string(b)
}
