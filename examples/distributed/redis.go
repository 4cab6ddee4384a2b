package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
)

// redisFlags are the flags for the connection to Redis. The passwords are in the environment.
type redisFlags struct {
	addrs  string // of one server, or of Sentinels or Cluster nodes, separated by commas
	master string // the name that Sentinel knows
	user   string
	tls    bool
	ca     string // a file
}

func (f redisFlags) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs:                 strings.Split(f.addrs, ","),
		MasterName:            f.master,
		Username:              f.user,
		Password:              os.Getenv("REDIS_PASSWORD"),
		SentinelPassword:      os.Getenv("REDIS_SENTINEL_PASSWORD"),
		ContextTimeoutEnabled: true, // the SDK requires that contexts cancel requests
	}
	if !f.tls && f.ca == "" {
		return o, nil
	}
	o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", f.ca)
		}
	}
	return o, nil
}
