package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// demoList is the list of openids of the demo, some of which the platform rejects.
type demoList struct {
	n   int
	bad float64 // share of rejected openids
}

// at returns openid i and its errcode, 0 if it is valid.
func (l demoList) at(i int) (string, wechatuser.Code) {
	if l.bad > 0 {
		if every := int(1 / l.bad); i%every == every-1 {
			switch i / every % 3 {
			case 0:
				return wechatusertest.OpenID(i), wechatuser.CodeUserUnsubscribed
			case 1:
				return wechatusertest.ForeignOpenID(i), wechatuser.CodeOpenIDMismatch
			default:
				return wechatusertest.OpenID(l.n + i), wechatuser.CodeInvalidOpenID // does not exist
			}
		}
	}
	return wechatusertest.OpenID(i), 0
}

// write writes the file, and removes the former followers from the account.
func (l demoList) write(name string, account *wechatusertest.Server) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	for i := range l.n {
		id, code := l.at(i)
		if code == wechatuser.CodeUserUnsubscribed {
			account.Unfollow(id)
		}
		fmt.Fprintln(out, id)
	}
	return errors.Join(out.Flush(), f.Close())
}

// check compares the account and the results of the job with the list.
func (l demoList) check(ctx context.Context, d *demoRun) error {
	s, err := d.job.summary(ctx)
	if err != nil {
		return err
	}
	s.print(d.out)
	missing, wrong := l.n, 0
	tagged := make(map[string]struct{}, l.n)
	for _, tag := range d.Tags() {
		for _, id := range d.TagFans(tag.ID) {
			tagged[id] = struct{}{}
		}
	}
	for i := range l.n {
		id, code := l.at(i)
		_, has := tagged[id]
		rejected, reported := s.rejected[id]
		if has || reported {
			missing--
		}
		if has != (code == 0) || reported == has || rejected.Code != code {
			wrong++
		}
	}
	tokens := d.Calls("/cgi-bin/stable_token")
	fmt.Fprintf(d.out, "account    %d followers tagged, %d openids neither tagged nor reported, %d wrong; "+
		"token requests: %d\n", len(tagged), missing, wrong, tokens)
	if missing+wrong > 0 || len(tagged)+len(s.rejected) != l.n || tokens != 1 {
		return errors.New("the result is not as expected")
	}
	return nil
}
