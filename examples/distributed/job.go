package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

// job is one job of one account: its data in Redis, and a client for the account.
type job struct {
	// queue is the name of the asynq queue. It contains the app ID: openids belong to an account, and another account
	// would reject them.
	queue   string
	rdb     redis.UniversalClient
	store   *redisstore.Store
	inspect *asynq.Inspector
	account *wechatuser.Client
}

// openJob opens a job. It sends no requests.
func openJob(cfg config, appID, secret string) (*job, error) {
	// One client for the queue, the token and the limiter.
	options, err := cfg.redis.options()
	if err != nil {
		return nil, err
	}
	rdb := redis.NewUniversalClient(options)
	j, err := newJob(cfg, appID, secret, rdb)
	if err != nil {
		_ = rdb.Close()
	}
	return j, err
}

func newJob(cfg config, appID, secret string, rdb redis.UniversalClient) (*job, error) {
	// The store shares the token with all other processes.
	store, err := redisstore.New(rdb)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opts := []wechatuser.Option{wechatuser.WithTokenStore(store), wechatuser.WithLogger(logger)}
	if cfg.limit > 0 {
		limiter, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(cfg.limit),
			redisstore.WithLogger(logger))
		if err != nil {
			return nil, err
		}
		opts = append(opts, wechatuser.WithLimiter(limiter))
	}
	if cfg.api != "" {
		opts = append(opts, wechatuser.WithBaseURL(cfg.api))
	}
	account, err := wechatuser.New(appID, secret, opts...)
	if err != nil {
		return nil, err
	}
	return &job{
		queue:   appID + ":" + cfg.job,
		rdb:     rdb,
		store:   store,
		inspect: asynq.NewInspectorFromRedisClient(rdb),
		account: account,
	}, nil
}

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

func (j *job) close() {
	j.account.HTTPClient().CloseIdleConnections()
	_ = j.rdb.Close()
}

// key returns a key of the job. The braces keep these keys and those of the queue in one hash slot of Redis Cluster.
func (j *job) key(name string) string { return "wechatuser:job:{" + j.queue + "}:" + name }

const taskType = "wechatuser:tag"

// chunk is a part of the job. It is kept in a hash until it is done, and the payload of its task is its ID, so that a
// lost task can be recreated. A million openids in chunks of 1,000 take 31 MB in Redis.
type chunk struct {
	TagID   int      `json:"tagid"`
	OpenIDs []string `json:"openids"`
}

// id returns a hash of the chunk, so that a chunk that is enqueued twice is one task.
func (c chunk) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s", c.TagID, strings.Join(c.OpenIDs, "\n")))
	return hex.EncodeToString(sum[:12])
}

// enqueue adds a task for a chunk to the queue, unless it is there already.
func (j *job) enqueue(ctx context.Context, chunkID string) error {
	client := asynq.NewClientFromRedisClient(j.rdb)
	_, err := client.EnqueueContext(ctx, asynq.NewTask(taskType, []byte(chunkID)),
		asynq.Queue(j.queue),
		asynq.TaskID(chunkID),
		asynq.MaxRetry(25),
		asynq.Timeout(time.Hour), // a task is slow with a low limit or an exhausted minute quota
	)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	return err
}

// blockUntil keeps all workers from making calls until a time, since the daily quota is exhausted.
func (j *job) blockUntil(ctx context.Context, until time.Time) error {
	return j.rdb.Set(ctx, j.key("shut"), until.UnixMilli(), time.Until(until)).Err()
}

// blockedUntil returns when calls can be made again, or the zero time if they can be made now.
func (j *job) blockedUntil(ctx context.Context) (time.Time, error) {
	ms, err := j.rdb.Get(ctx, j.key("shut")).Int64()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	return time.UnixMilli(ms), err
}

// pause pauses the queue for all workers until rerun.
func (j *job) pause(ctx context.Context, reason error) error {
	if err := j.rdb.Set(ctx, j.key("paused"), reason.Error(), 0).Err(); err != nil {
		return err
	}
	err := j.inspect.PauseQueue(j.queue)
	if info, infoErr := j.inspect.GetQueueInfo(j.queue); infoErr == nil && info.Paused {
		return nil // another worker has paused it
	}
	return err
}

// rerun resumes all tasks that have failed or are waiting, and recreates those that are lost.
func (j *job) rerun(ctx context.Context, out io.Writer) error {
	if err := j.rdb.Del(ctx, j.key("shut"), j.key("paused")).Err(); err != nil {
		return err
	}
	lost, err := j.restore(ctx)
	if err != nil {
		return err
	}
	if lost > 0 {
		fmt.Fprintf(out, "%d lost tasks were recreated.\n", lost)
	}
	info, err := j.inspect.GetQueueInfo(j.queue)
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return nil // there is no task
	}
	if err != nil {
		return err
	}
	if info.Paused {
		err = j.inspect.UnpauseQueue(j.queue)
	}
	_, archived := j.inspect.RunAllArchivedTasks(j.queue)
	_, waiting := j.inspect.RunAllRetryTasks(j.queue)
	return errors.Join(err, archived, waiting)
}

// restore recreates the tasks of open chunks that are missing from the queue, because Redis has evicted them or
// somebody has deleted them. It returns their number.
func (j *job) restore(ctx context.Context) (lost int, err error) {
	ids, err := j.rdb.HKeys(ctx, j.key("openids")).Result()
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if task, err := j.inspect.GetTaskInfo(j.queue, id); err == nil && task.ID == id { // otherwise its data is lost
			continue
		}
		if err := j.forget(ctx, id); err != nil {
			return lost, err
		}
		if err := j.enqueue(ctx, id); err != nil {
			return lost, err
		}
		lost++
	}
	return lost, nil
}

// forget removes what is left of a task whose data is lost: its ID is still in one of the lists of asynq.
func (j *job) forget(ctx context.Context, id string) error {
	prefix := "asynq:{" + j.queue + "}:"
	_, err := j.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.Del(ctx, prefix+"t:"+id)
		for _, list := range []string{"pending", "active"} {
			tx.LRem(ctx, prefix+list, 0, id)
		}
		for _, set := range []string{"lease", "scheduled", "retry", "archived"} {
			tx.ZRem(ctx, prefix+set, id)
		}
		return nil
	})
	return err
}
