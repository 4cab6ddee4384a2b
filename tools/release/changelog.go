package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

var releaseHeading = regexp.MustCompile(`(?m)^## \[(.+?)\](?: - (.*))?$`)

// checkChangelog returns an error unless the section [Unreleased] is empty and the next one is that of the version,
// with a date.
func checkChangelog(text string, next version, now time.Time) error {
	headings := releaseHeading.FindAllStringSubmatchIndex(text, -1)
	if len(headings) < 2 {
		return errors.New("the first two headings must be ## [Unreleased] and that of the version")
	}
	if name := text[headings[0][2]:headings[0][3]]; name != "Unreleased" {
		return fmt.Errorf("the first heading is [%s] instead of [Unreleased]", name)
	}
	if left := text[headings[0][1]:headings[1][0]]; strings.TrimSpace(left) != "" {
		return fmt.Errorf("[Unreleased] is not empty: move it below a heading ## [%s] - %s",
			strings.TrimPrefix(next.String(), "v"), now.Format(time.DateOnly))
	}
	heading := headings[1]
	if name := text[heading[2]:heading[3]]; "v"+name != next.String() {
		return fmt.Errorf("the heading after [Unreleased] is [%s] instead of [%s]", name,
			strings.TrimPrefix(next.String(), "v"))
	}
	if heading[4] < 0 {
		return fmt.Errorf("%s has no date", next)
	}
	date, err := time.Parse(time.DateOnly, text[heading[4]:heading[5]])
	if err != nil {
		return fmt.Errorf("the date of %s: %w", next, err)
	}
	if date.After(now.UTC().AddDate(0, 0, 1)) {
		return fmt.Errorf("the date of %s is %s, which is in the future", next, date.Format(time.DateOnly))
	}
	end := len(text)
	if len(headings) > 2 {
		end = headings[2][0]
	}
	if strings.TrimSpace(text[heading[1]:end]) == "" {
		return fmt.Errorf("%s has no lines", next)
	}
	return nil
}
