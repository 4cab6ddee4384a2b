package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// beijing is the time zone of all times in tables, so that they are the same wherever the export runs.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// row is one follower.
type row struct {
	user wechatuser.UserInfo
	tags []string // the names of user.TagIDList
	err  string   // why there is nothing but the openid, empty where there is
}

// columns are the columns of a table.
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

// value is what a row has in a column. All but openid and error of a refused profile is not known.
func (r row) value(column int) any {
	if r.err != "" && column > 0 && column < len(columns)-1 {
		return nil
	}
	return columns[column].value(r)
}

// newRow makes the row of what [wechatuser.Client.BulkUserInfo] gives. An error is one that is of no single follower.
func newRow(user wechatuser.UserInfo, err error, tagNames map[int]string) (row, error) {
	if refused := (*wechatuser.OpenIDError)(nil); errors.As(err, &refused) {
		return row{user: wechatuser.UserInfo{OpenID: refused.OpenID}, err: reason(refused.Err)}, nil
	}
	if err != nil {
		return row{}, err
	}
	r := row{user: user, tags: make([]string, len(user.TagIDList))}
	for i, id := range user.TagIDList {
		r.tags[i] = cmp.Or(tagNames[id], strconv.Itoa(id)) // a tag that was made meanwhile has no name here
	}
	return r, nil
}

// reason says why a profile was refused, without the rid, so that it is the same each time.
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
