package mirror_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func Example() {
	ctx := context.Background()
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(250))
	dir, err := os.MkdirTemp("", "mirror")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "mirror.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	store, err := mirror.NewSQLStore(db, mirror.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	m, err := mirror.New(account.Client(), store)
	if err != nil {
		log.Fatal(err)
	}
	report, err := m.Full(ctx)
	fmt.Println(report, err)

	account.Unfollow(wechatusertest.OpenID(7)) // the push arrives
	err = m.Apply(ctx, &wechatuserpush.Unsubscribe{Header: wechatuserpush.Header{
		FromUserName: wechatusertest.OpenID(7), CreateTime: time.Now().Truncate(time.Second), MsgType: "event",
	}})
	fmt.Println(err)

	account.Unfollow(wechatusertest.OpenID(8)) // the push is lost
	report, err = m.Reconcile(ctx)
	fmt.Println(report, err)
	// Output:
	// 250 listed, 250 added, 250 profiles read, 0 failed, 0 removed, 0 kept, 6 calls <nil>
	// <nil>
	// 248 listed, 0 added, 0 profiles read, 0 failed, 1 removed, 0 kept, 4 calls <nil>
}
