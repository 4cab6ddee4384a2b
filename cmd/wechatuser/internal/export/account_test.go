package export

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// newAccount returns an in-memory account, the same one each time. Its app ID contains the number of followers.
func newAccount(fans int, opts ...wechatusertest.Option) *wechatusertest.Server {
	start := time.Date(2020, 1, 1, 8, 0, 0, 0, beijing)
	srv := wechatusertest.NewServer(append(opts,
		wechatusertest.WithoutListener(),
		wechatusertest.WithAccount(fmt.Sprintf("wxfa4e%012d", fans), strings.Repeat("0", 32)),
		wechatusertest.WithClock(func() time.Time { return start }))...)
	var tags []int
	for _, name := range []string{"会员", "新客", "老客户", "VIP", "上海", "海外", "已退款", "活动"} {
		tags = append(tags, srv.AddTag(name))
	}
	for i := range fans {
		srv.AddUsers(newFan(i, start, tags))
	}
	return srv
}

// newFan returns follower i, with a profile that varies by i and is the same each time.
func newFan(i int, start time.Time, tags []int) wechatuser.UserInfo {
	scenes := []wechatuser.SubscribeScene{
		wechatuser.SceneSearch, wechatuser.SceneQRCode, wechatuser.SceneProfileCard, wechatuser.ScenePaid,
		wechatuser.SceneWechatAdvertisement, wechatuser.SceneChannels, wechatuser.SceneMiniProgram, wechatuser.SceneOthers,
	}
	remarks := []string{
		"", "", "", "", "金牌客户", "王女士, 浦东店", `说"再看看"`, "两行\n备注", "=1+1", "-10% 优惠", "@客服", "🍵 茶友", "a;b", `C:\tmp`, "'引号'",
	}
	r := rand.New(rand.NewPCG(uint64(i), 0))
	user := wechatuser.UserInfo{
		OpenID:         wechatusertest.OpenID(i),
		UnionID:        fmt.Sprintf("oFAKEunion%018d", i),
		SubscribeTime:  start.Unix() + int64(i)*60 + r.Int64N(60),
		SubscribeScene: scenes[r.IntN(len(scenes))],
		Remark:         remarks[r.IntN(len(remarks))],
	}
	if user.SubscribeScene == wechatuser.SceneQRCode {
		if user.QRScene = r.Int64N(5); user.QRScene == 0 {
			user.QRSceneStr = fmt.Sprintf("shop-%d", r.IntN(20))
		}
	}
	for _, tag := range tags {
		if r.IntN(5) == 0 {
			user.TagIDList = append(user.TagIDList, tag)
		}
	}
	return user
}
