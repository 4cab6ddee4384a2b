// Package chinese says in Chinese what an error of the SDK, the network or the operating system means, and what to do.
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
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/wechatuser/wechatuser"
)

// Explain returns the first error in the chain of err that can be said in Chinese: what happened, what to do and, for
// those who search for it, the original text. The cause is nil if there is none.
func Explain(err error) (text string, cause error) {
	text, cause = explain(err)
	if cause == nil {
		return "", nil
	}
	if original := originalOf(cause); original != "" {
		text += "（原文：" + original + "）"
	}
	return text, cause
}

// originalOf returns the original text of an error: of an errcode, what the platform said.
func originalOf(cause error) string {
	e := (*wechatuser.Error)(nil)
	if !errors.As(cause, &e) {
		return strings.ReplaceAll(cause.Error(), "wechatuser: ", "")
	}
	text := e.Message
	if e.RID != "" {
		text += "，rid " + e.RID
	} else if e.Hint != "" {
		text += "，hint " + e.Hint
	}
	return strings.TrimPrefix(text, "，")
}

func explain(err error) (text string, cause error) {
	var (
		platform  *wechatuser.Error
		transport *wechatuser.TransportError
		response  *wechatuser.ResponseError
		argument  *wechatuser.ArgumentError
	)
	switch {
	case errors.As(err, &platform):
		return platformZH(platform), platform
	case errors.As(err, &transport):
		return transport.API + "：没有收到响应" + systemZH("：", transport.Err) + ambiguousZH(err), transport
	case errors.As(err, &response):
		return responseZH(response) + ambiguousZH(err), response
	case errors.As(err, &argument):
		return argumentZH(argument), argument
	case systemZH("", err) != "":
		return systemZH("", err), systemCause(err)
	}
	for _, class := range classesZH {
		if errors.Is(err, class.err) {
			return class.text, err
		}
	}
	return "", nil
}

// classesZH are the classes of errors that have no type of their own, with what to do.
var classesZH = []struct {
	err  error
	text string
}{
	{wechatuser.ErrRateLimited, "请求过于频繁，或额度已用尽：稍后重试"},
	{wechatuser.ErrCredential, "无法获取 access_token：检查 AppID、AppSecret 和 IP 白名单"},
	{wechatuser.ErrInvalidToken, "access_token 无效：确认没有其他程序在刷新同一个 access_token"},
	{wechatuser.ErrPermission, "账号没有该接口的权限：完成微信认证，或在微信开发者平台查看接口权限"},
	{wechatuser.ErrNotFollowing, "该用户没有关注公众号"},
	{wechatuser.ErrInvalidArgument, "参数无效"},
	{wechatuser.ErrAmbiguous, "没有响应说明平台是否已执行：重复执行前请先确认"},
	{wechatuser.ErrUnproven, "平台返回的数据无法确认属于哪个用户：稍后重试"},
	{wechatuser.ErrTemporary, "暂时失败：稍后重试"},
}

func platformZH(e *wechatuser.Error) string {
	text := fmt.Sprintf("%s：错误码 %d", e.API, e.Code)
	if meaning := e.Code.MeaningZH(); meaning != "" {
		text = fmt.Sprintf("%s：%d %s", e.API, e.Code, meaning)
	}
	if ip := e.ClientIP(); ip.IsValid() {
		text += "，微信看到的 IP 为 " + ip.String()
	}
	if remedy := e.Code.RemedyZH(); remedy != "" {
		text += "：" + remedy
	}
	return text + ambiguousZH(e)
}

func ambiguousZH(err error) string {
	if errors.Is(err, wechatuser.ErrAmbiguous) {
		return "；平台可能已执行"
	}
	return ""
}

func responseZH(e *wechatuser.ResponseError) string {
	text := fmt.Sprintf("%s：收到的不是平台的正常响应（HTTP 状态码 %d）：", e.API, e.StatusCode)
	switch {
	case errors.Is(e, wechatuser.ErrUnproven):
		return text + "无法确认数据属于哪个用户，请稍后重试"
	case errors.Is(e, wechatuser.ErrRateLimited):
		return text + "请求过于频繁，请稍后重试"
	case errors.Is(e, wechatuser.ErrTemporary):
		return text + "可能是暂时的，请稍后重试；如仍如此，请检查本机与微信之间的代理、防火墙或网关"
	}
	return text + "检查接口地址，以及本机与微信之间的代理、防火墙或网关"
}

// argumentTexts are the SDK's reasons for rejecting an argument, in Chinese.
var argumentTexts = []struct {
	english *regexp.Regexp
	chinese string
}{
	{regexp.MustCompile(`^empty openid$`), `openid 为空`},
	{regexp.MustCompile(`^(".*") is not an openid: it contains (U\+\w+)$`), `$1 不是 openid：含有不可见字符 $2`},
	{regexp.MustCompile(`^(".*") is not an openid: .*$`), `$1 不是 openid：含有空格、控制字符或无效字符`},
	{regexp.MustCompile(`^empty name$`), `标签名为空`},
	{regexp.MustCompile(`^not valid UTF-8$`), `不是有效的 UTF-8 文本`},
	{regexp.MustCompile(`^(".*") contains a control character.*$`), `$1 含有控制字符，平台无法保存`},
	{regexp.MustCompile(`^(".*") has (\d+) bytes of UTF-8, at most (\d+) .*$`), `$1 为 $2 个字节，不能超过 $3 个字节（一个汉字占 3 个字节）`},
	{regexp.MustCompile(`^(.*) is not the ID of a tag.*$`), `$1 不是标签 ID`},
	{regexp.MustCompile(`^(".*") is not the path of an API.*$`), `$1 不是接口路径：应以斜杠开头，不含域名和查询参数，例如 /cgi-bin/user/get`},
	{regexp.MustCompile(`^(".*") does not take the account's access token$`), `$1 不使用公众号的 access_token`},
	{regexp.MustCompile(`^(".*") is not a rid.*$`), `$1 不是 rid：请原样传入报错中的 rid`},
	{regexp.MustCompile(`^(".*"): it must be GET or POST$`), `$1 无效：只能是 GET 或 POST`},
	{regexp.MustCompile(`^a GET has no body.*$`), `GET 请求不能带数据：去掉 --method，或改为 POST`},
	{regexp.MustCompile(`^(".*"): leave it out, the client adds the access token$`), `去掉参数 $1：access_token 会自动添加`},
	{regexp.MustCompile(`^empty: you find it .*$`), `不能为空：可在微信开发者平台查看`},
	{regexp.MustCompile(`^contains a space .*$`), `含有空格或其他不允许的字符：请只复制其本身`},
	{regexp.MustCompile(`^empty address$`), `地址为空`},
	{regexp.MustCompile(`^not an absolute URL.*$`), `不是完整的地址，例如 https://api.weixin.qq.com`},
	{regexp.MustCompile(`^(\S+): leave out user, query and fragment$`), `$1：地址不能带用户名、查询参数和片段`},
	{regexp.MustCompile(`^(\S+): the scheme must be https$`), `$1：必须是 https`},
	{regexp.MustCompile(`^(\S+): plain http shows .*$`), `$1：http 会明文传输 access_token 和 AppSecret；如在自己的网络中使用，请加 --plain-http`},
}

func argumentZH(e *wechatuser.ArgumentError) string {
	for _, t := range argumentTexts {
		if m := t.english.FindStringSubmatchIndex(e.Reason); m != nil {
			return "参数 " + e.Field + " 无效：" + string(t.english.ExpandString(nil, t.chinese, e.Reason, m))
		}
	}
	return "参数 " + e.Field + " 无效"
}

// systemCause returns the error of the network or the operating system in the chain of err.
func systemCause(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op
	}
	if program := (*exec.Error)(nil); errors.As(err, &program) {
		return program
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit
	}
	return err
}

// systemZH returns what an error of the network or the operating system means, and what to do, after a prefix. It is
// empty for any other error.
func systemZH(prefix string, err error) string {
	if text := networkZH(err); text != "" {
		return prefix + text
	}
	if text := fileZH(err); text != "" {
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			text = path.Path + "：" + text
		}
		return prefix + text
	}
	return ""
}

func networkZH(err error) string {
	var (
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "找不到域名 " + dns.Name + "：检查域名是否正确，以及本机或容器的 DNS 配置"
	case errors.As(err, &dns):
		return "解析域名 " + dns.Name + " 失败：检查本机或容器的 DNS 配置，稍后重试"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "连接被拒绝：检查接口地址和端口是否正确、服务是否已启动，以及代理和防火墙"
	case errors.As(err, &unknown):
		return "证书由未知机构签发：安装根证书（软件包 ca-certificates）；如果代理会解密 TLS，请添加其根证书"
	case errors.As(err, &name):
		return "证书与域名不符，连接到了其他服务器：检查 DNS、hosts 文件和代理"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "证书已过期或尚未生效：先检查本机时钟，再确认连接的是哪台服务器"
	case errors.As(err, &cert):
		return "证书校验失败：确认连接的是哪台服务器"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "对方没有使用 TLS：检查接口地址应为 https 还是 http，以及代理"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "超时：检查网络、代理和防火墙，稍后重试；可用 wechatuser doctor 诊断"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "连接被对方断开：稍后重试；如仍如此，请检查代理和防火墙"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "网络不可达：检查网络连接和路由"
	case errors.Is(err, syscall.EADDRINUSE):
		return "端口已被占用：换一个端口，或停止占用它的程序"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "本机没有这个地址：检查要监听的地址"
	}
	return ""
}

func fileZH(err error) string {
	exit := (*exec.ExitError)(nil)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "找不到该程序：检查程序名和 PATH"
	case errors.Is(err, fs.ErrNotExist):
		return "文件或目录不存在"
	case errors.Is(err, fs.ErrPermission):
		return "没有权限"
	case errors.Is(err, fs.ErrExist):
		return "文件已存在"
	case errors.Is(err, syscall.EISDIR):
		return "这是目录，不是文件"
	case errors.Is(err, syscall.ENOTDIR):
		return "路径中有一部分不是目录"
	case errors.Is(err, syscall.ENOSPC):
		return "磁盘空间不足"
	case errors.Is(err, syscall.EROFS):
		return "文件系统是只读的"
	case errors.As(err, &exit):
		return fmt.Sprintf("程序执行失败，退出码 %d", exit.ExitCode())
	}
	return ""
}
