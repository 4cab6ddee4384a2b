package main

import (
	"context"
	"strconv"
)

// cursor is the progress of the producer.
type cursor struct {
	after    string // the last openid
	openIDs  int
	complete bool
}

func (j *job) cursor(ctx context.Context) (c cursor, err error) {
	fields, err := j.rdb.HGetAll(ctx, j.key("place")).Result()
	if err != nil || len(fields) == 0 {
		return c, err
	}
	c.after, c.complete = fields["after"], fields["complete"] == "1"
	c.openIDs, err = strconv.Atoi(fields["openids"])
	return c, err
}

// dropLostChunks removes the chunks that have neither a result nor openids, since Redis has evicted the openids. It
// returns their number.
func (j *job) dropLostChunks(ctx context.Context) (lost int, err error) {
	chunks, err := j.results(ctx)
	if err != nil {
		return 0, err
	}
	for id, r := range chunks {
		if r.Runs > 0 {
			continue
		}
		stored, err := j.rdb.HExists(ctx, j.key("openids"), id).Result()
		if err != nil {
			return lost, err
		}
		if !stored {
			lost++
			if err := j.rdb.HDel(ctx, j.key("chunks"), id).Err(); err != nil {
				return lost, err
			}
		}
	}
	return lost, nil
}
