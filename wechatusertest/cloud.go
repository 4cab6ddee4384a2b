package wechatusertest

import (
	"net/http"
	"slices"

	"github.com/wechatuser/wechatuser"
)

// CloudToken returns the cloudbase_access_token that [WithCloudHosting] accepts. It is empty without that option.
func (s *Server) CloudToken() string {
	if !s.cfg.cloud {
		return ""
	}
	return "cloudbase_" + s.AppID
}

// authorize checks the token of a call, and in cloud hosting the path. It returns an errcode, or sets c.special.
// https://developers.weixin.qq.com/minigame/dev/wxcloudrun/src/guide/weixin/faq.html
func (s *Server) authorize(c *call) wechatuser.Code {
	token, cloudToken := c.query.Get("access_token"), c.query.Get("cloudbase_access_token")
	allowed := slices.Contains(s.cfg.cloudPaths, c.path)
	if s.platform != nil {
		if code, known := s.platform.checkAuthorizerToken(s.AppID, token, c); known {
			c.byPlatform = true
			return code
		}
	}
	switch from := c.query.Get("from_appid"); {
	case !s.cfg.cloud || token != "":
		return s.checkToken(token, c.now)
	case from != "" && from != s.AppID:
		return wechatuser.CodeAPIUnauthorized
	case cloudToken != "" && cloudToken != s.CloudToken():
		return wechatuser.CodeInvalidCredential
	case cloudToken != "" && !allowed:
		return wechatuser.CodeCloudPathNotAllowed
	case !allowed:
		c.special = &response{
			status: http.StatusBadGateway, contentType: "text/html; charset=utf-8", body: []byte(gatewayPage),
		}
	}
	return 0
}
