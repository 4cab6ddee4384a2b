package redisstore_test

import (
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

func Example() {
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{"127.0.0.1:6379"},
		ContextTimeoutEnabled: true,
	})
	defer rdb.Close()

	store, err := redisstore.New(rdb)
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := redisstore.NewLimiter(rdb, "wechatuser:limit:wxFAKE000000000000", redisstore.PerMinute(600))
	if err != nil {
		log.Fatal(err)
	}
	c, err := wechatuser.New("wxFAKE000000000000", "secret",
		wechatuser.WithTokenStore(store),
		wechatuser.WithLimiter(limiter),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c)
	// Output: wechatuser.Client(wxFAKE000000000000)
}

func ExampleNew_sentinel() {
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{
		MasterName:            "main",
		Addrs:                 []string{"127.0.0.1:26379", "127.0.0.1:26380", "127.0.0.1:26381"},
		ContextTimeoutEnabled: true,
	})
	defer rdb.Close()
	store, err := redisstore.New(rdb, redisstore.WithKeyPrefix("crm:"), redisstore.WithTimeout(time.Second))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store)
	// Output: redisstore.Store("crm:")
}

func ExampleWithEncryption() {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	key := make([]byte, 32) // from the same place as the app secret
	_, err := redisstore.New(rdb, redisstore.WithEncryption(key))
	fmt.Println(err)
	_, err = redisstore.New(rdb, redisstore.WithEncryption(key[:10]))
	fmt.Println(err)
	// Output:
	// <nil>
	// wechatuser: redisstore.New: WithEncryption: invalid key size 10: a key has 16, 24 or 32 bytes
}

// While a program is migrated from WxJava, the store uses the token that WxJava keeps.
func ExampleWithReadFrom() {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	store, err := redisstore.New(rdb, redisstore.WithReadFrom(redisstore.WxJava("wx"), redisstore.Silenceper("")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store)
	// Output: redisstore.Store("")
}
