module github.com/wechatuser/wechatuser/examples/sandbox/browser

go 1.25.0

require (
	github.com/stretchr/testify v1.12.1
	github.com/wechatuser/wechatuser v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/go-resty/resty/v2 v2.17.2 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.43.0 // indirect
)

replace github.com/wechatuser/wechatuser => ../../..
