package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
