package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// result is the result of a chunk. It is one field of one hash, written atomically, so that a task that is done twice
// is counted once.
type result struct {
	OpenIDs  int         `json:"openids"`
	Runs     int         `json:"runs,omitempty"` // 0 until the chunk is done
	Rejected []rejection `json:"refused,omitempty"`
}

// rejection is an openid that was not tagged.
type rejection struct {
	OpenID string          `json:"openid"`
	Code   wechatuser.Code `json:"errcode"`         // 0 if it was not sent
	Reason string          `json:"error,omitempty"` // if it was not sent
}

func newResult(report *wechatuser.BulkReport, runs int) result {
	r := result{OpenIDs: report.Total, Runs: runs}
	for _, failed := range report.Failed {
		one := rejection{OpenID: failed.OpenID}
		if e := (*wechatuser.Error)(nil); errors.As(failed.Err, &e) {
			one.Code = e.Code
		} else {
			one.Reason = failed.Err.Error()
		}
		r.Rejected = append(r.Rejected, one)
	}
	return r
}

// encode cannot fail: result has strings and numbers only.
func encode(r result) []byte {
	text, _ := json.Marshal(r)
	return text
}

// record records the result of a chunk, whose openids are no longer needed then.
func (j *job) record(ctx context.Context, chunkID string, r result) error {
	_, err := j.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSet(ctx, j.key("chunks"), chunkID, encode(r))
		tx.HDel(ctx, j.key("openids"), chunkID)
		return nil
	})
	return err
}

// isDone reports whether a chunk has a result.
func (j *job) isDone(ctx context.Context, chunkID string) (bool, error) {
	var r result
	text, err := j.rdb.HGet(ctx, j.key("chunks"), chunkID).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r.Runs > 0, err
}

// results returns the results of all chunks by ID.
func (j *job) results(ctx context.Context) (map[string]result, error) {
	chunks := make(map[string]result)
	// HSCAN may return a field twice, with different values.
	scan := j.rdb.HScan(ctx, j.key("chunks"), 0, "", 1000).Iterator()
	for scan.Next(ctx) {
		id := scan.Val()
		var r result
		if !scan.Next(ctx) {
			break
		}
		if err := json.Unmarshal([]byte(scan.Val()), &r); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", id, err)
		}
		chunks[id] = r
	}
	return chunks, scan.Err()
}
