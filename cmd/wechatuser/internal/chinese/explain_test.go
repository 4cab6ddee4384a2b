package chinese

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

func TestExplain(t *testing.T) {
	for want, err := range map[string]error{
		"getTags：错误码 99999（原文：surprise）": &wechatuser.Error{API: "getTags", Code: 99999, Message: "surprise"},
		"x：没有收到响应：超时：检查网络、代理和防火墙，稍后重试；可用 wechatuser doctor 诊断（原文：x: no response: context deadline exceeded）": fmt.Errorf("job: %w", &wechatuser.TransportError{
			API: "x", Err: context.DeadlineExceeded,
		}),
		"x：没有收到响应（原文：x: no response: odd）":                             &wechatuser.TransportError{API: "x", Err: errors.New("odd")},
		"x：没有收到响应：连接被对方断开：稍后重试；如仍如此，请检查代理和防火墙（原文：x: no response: EOF）": &wechatuser.TransportError{API: "x", Err: io.EOF},
		"x：收到的不是平台的正常响应（HTTP 状态码 502）：可能是暂时的，请稍后重试；如仍如此，请检查本机与微信之间的代理、防火墙或网关（原文：x: not a response of the platform: HTTP status 502）": &wechatuser.ResponseError{
			API: "x", StatusCode: http.StatusBadGateway,
		},
		"x：收到的不是平台的正常响应（HTTP 状态码 429）：请求过于频繁，请稍后重试（原文：x: not a response of the platform: HTTP status 429）": &wechatuser.ResponseError{
			API: "x", StatusCode: http.StatusTooManyRequests,
		},
		"参数 openid 无效：openid 为空（原文：x: openid: empty openid）": &wechatuser.ArgumentError{API: "x", Field: "openid", Reason: "empty openid"},
		"参数 y 无效（原文：x: y: another）":                          &wechatuser.ArgumentError{API: "x", Field: "y", Reason: "another"},
		"证书与域名不符，连接到了其他服务器：检查 DNS、hosts 文件和代理（原文：": &tls.CertificateVerificationError{Err: x509.HostnameError{
			Certificate: &x509.Certificate{}, Host: "h",
		}},
		"证书已过期或尚未生效：先检查本机时钟，再确认连接的是哪台服务器（原文：":                       x509.CertificateInvalidError{Reason: x509.Expired},
		"证书校验失败：确认连接的是哪台服务器（原文：":                                    &tls.CertificateVerificationError{Err: errors.New("odd")},
		"解析域名 h 失败：检查本机或容器的 DNS 配置，稍后重试（原文：":                        &net.DNSError{Name: "h", Err: "server misbehaving"},
		"端口已被占用：换一个端口，或停止占用它的程序（原文：listen: address already in use）": &net.OpError{Op: "listen", Err: syscall.EADDRINUSE},
		"网络不可达：检查网络连接和路由（原文：":                                       &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH},
		"/x：没有权限（原文：open /x: permission denied）":                    &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES},
		"/x：磁盘空间不足（原文：":                                             &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC},
		"找不到该程序：检查程序名和 PATH（原文：":                                    &exec.Error{Name: "pass", Err: exec.ErrNotFound},
	} {
		text, cause := Explain(err)
		require.Error(t, cause)
		assert.Contains(t, text, want)
		assert.True(t, errors.Is(err, cause), want)
	}
	text, cause := Explain(errors.New("odd"))
	require.NoError(t, cause)
	assert.Empty(t, text)
}

// Each class of errors is explained, although its error is of no type that is known here.
func TestClasses(t *testing.T) {
	for _, class := range []error{
		wechatuser.ErrInvalidToken, wechatuser.ErrCredential, wechatuser.ErrRateLimited, wechatuser.ErrPermission,
		wechatuser.ErrNotFollowing, wechatuser.ErrInvalidArgument, wechatuser.ErrTemporary, wechatuser.ErrAmbiguous,
		wechatuser.ErrUnproven,
	} {
		text, cause := Explain(fmt.Errorf("odd: %w", class))
		require.Error(t, cause, class)
		assert.Regexp(t, `\p{Han}.*（原文：odd: `, text)
	}
}
