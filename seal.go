package wechatuser

import "github.com/wechatuser/wechatuser/internal/redact"

func masked(text string, secrets ...string) string { return redact.New(secrets...).Text(text) }

func maskParam(text, mark string) string { return redact.Param(text, mark) }

func sealed(err error, secrets ...string) error { return redact.New(secrets...).Error(err) }
