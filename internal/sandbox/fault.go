package sandbox

import (
	"fmt"
	"strings"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

var faultKinds = []wechatusertest.FaultKind{
	wechatusertest.FaultErrcode, wechatusertest.FaultHTTP, wechatusertest.FaultDelay, wechatusertest.FaultDropRequest,
	wechatusertest.FaultDropAnswer, wechatusertest.FaultCutBody, wechatusertest.FaultGarbage,
}

var chineseKinds = map[wechatusertest.FaultKind]string{
	wechatusertest.FaultErrcode: "返回 errcode", wechatusertest.FaultHTTP: "返回 HTTP 状态码",
	wechatusertest.FaultDelay: "延迟响应", wechatusertest.FaultDropRequest: "请求丢失（未执行）",
	wechatusertest.FaultDropAnswer: "响应丢失（已执行）", wechatusertest.FaultCutBody: "响应被截断",
	wechatusertest.FaultGarbage: "响应不是 JSON",
}

func kindName(k wechatusertest.FaultKind, l language) string {
	if zh := chineseKinds[k]; zh != "" {
		return l.tr(string(k), zh)
	}
	return string(k)
}

// describe describes a fault in one line.
func describe(f wechatusertest.Fault, l language) string {
	if l == english {
		return f.String()
	}
	text := []string{kindName(f.Kind, l)}
	switch f.Kind {
	case wechatusertest.FaultErrcode:
		text[0] += fmt.Sprintf(" %d", f.Code)
	case wechatusertest.FaultHTTP:
		text[0] += fmt.Sprintf(" %d", f.Status)
	}
	add := func(given bool, part string, args ...any) {
		if given {
			text = append(text, fmt.Sprintf(part, args...))
		}
	}
	add(f.Path != "" && f.Path != "*", "%s", f.Path)
	add(f.Delay > 0, "延迟 %v", f.Delay)
	add(f.After > 0, "跳过前 %d 次调用", f.After)
	add(f.Times > 0, "共 %d 次", f.Times)
	add(f.Times == 0, "不限次数")
	add(f.For > 0, "持续 %v", f.For)
	add(f.Probability > 0 && f.Probability < 1, "概率 %v", f.Probability)
	return strings.Join(text, "，")
}

// checkFault returns why a fault is not possible.
func checkFault(f wechatusertest.Fault) error {
	err := f.Check()
	if err == nil {
		return nil
	}
	zh := err.Error()
	switch {
	case chineseKinds[f.Kind] == "":
		zh = fmt.Sprintf("未知的故障类型 %q", f.Kind)
	case f.Kind == wechatusertest.FaultErrcode && f.Code == 0:
		zh = "请填写 errcode，不能为 0"
	case f.Kind == wechatusertest.FaultHTTP && (f.Status < 200 || f.Status > 599):
		zh = "HTTP 状态码应为 200 到 599"
	case f.Kind == wechatusertest.FaultDelay && f.Delay == 0:
		zh = "请填写延迟时间"
	case f.Probability < 0 || f.Probability > 1:
		zh = "概率应为 0 到 1"
	case f.After < 0 || f.Times < 0 || f.Delay < 0:
		zh = "次数、跳过次数和延迟不能为负数"
	}
	return message{en: err.Error(), zh: zh, err: err}
}
