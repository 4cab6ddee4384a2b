package main

import "github.com/wechatuser/wechatuser"

// language is what differs between the documents.
type language struct {
	header          string // of each table
	title           func(english string) string
	meaning, remedy func(wechatuser.Code) string
}

var english = language{
	header:  "| errcode | errmsg, meaning | what to do | class |",
	title:   func(english string) string { return english },
	meaning: wechatuser.Code.Meaning,
	remedy:  wechatuser.Code.Remedy,
}

var chinese = language{
	header:  "| errcode | errmsg、含义 | 处理办法 | 类别 |",
	title:   func(english string) string { return titlesZH[english] },
	meaning: wechatuser.Code.MeaningZH,
	remedy:  wechatuser.Code.RemedyZH,
}

// titlesZH are the titles of the groups in codes.go.
var titlesZH = map[string]string{
	"The token and what it is made from": "token 与获取 token 所需的信息",
	"The request itself":                 "请求本身",
	"The platform's load and quotas":     "平台负载与额度",
	"Users, remarks and the blacklist":   "用户、备注和黑名单",
	"Tags":                               "标签",
	"Rights of the account, and of a third-party platform that acts for it": "账号的权限，以及第三方平台代调用的权限",
	"The tokens of a third-party platform (第三方平台)":                          "第三方平台的凭据",
	"The migration from another account":                                    "账号迁移",
	"Cloud hosting (微信云托管)":                                                 "微信云托管",
	"Information about quotas and about earlier requests":                   "额度查询与请求诊断",
}
