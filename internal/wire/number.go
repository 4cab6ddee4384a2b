package wire

import (
	"bytes"
	"strconv"
)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digits returns the position after the digits at i.
func digits(s []byte, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// numberLen returns the length of the number that s begins with, or 0 if there is none.
func numberLen(s []byte) int {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	if i = digits(s, i); i == start || i > start+1 && s[start] == '0' {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		start = i + 1
		if i = digits(s, start); i == start {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		start = i
		if i = digits(s, start); i == start {
			return 0
		}
	}
	return i
}

// number goes past a number and returns it, as a part of data.
func (p *parser) number() (literal []byte, ok bool) {
	n := numberLen(p.data[p.pos:])
	literal = p.data[p.pos : p.pos+n]
	p.pos += n
	return literal, n > 0
}

// short goes past a whole number of at most 18 digits, as nearly all are. It reports false, without moving, if there is
// something else.
func (p *parser) short() (n int64, ok bool) {
	i := p.pos
	minus := i < len(p.data) && p.data[i] == '-'
	if minus {
		i++
	}
	start := i
	for i < len(p.data) && isDigit(p.data[i]) {
		n = n*10 + int64(p.data[i]-'0') // may overflow: then length is above 18
		i++
	}
	length := i - start
	if length == 0 || length > 18 || length > 1 && p.data[start] == '0' {
		return 0, false
	}
	if i < len(p.data) && (p.data[i] == '.' || p.data[i]|0x20 == 'e') {
		return 0, false
	}
	p.pos = i
	if minus {
		n = -n
	}
	return n, true
}

const wholeNumber = "a whole number"

// whole goes past a whole number, which can be in quotes.
func (p *parser) whole() (int64, status) {
	c := p.next()
	if n, ok := p.short(); ok {
		return n, fine
	}
	var literal []byte
	switch {
	case c == '"':
		start := p.pos
		var ok bool
		if literal, ok = p.string(); !ok {
			return 0, broken
		}
		if len(literal) == 0 || numberLen(literal) != len(literal) {
			p.pos = start
			return 0, p.wrong(wholeNumber)
		}
	case c == '-' || isDigit(c):
		var ok bool
		if literal, ok = p.number(); !ok {
			return 0, broken
		}
	default:
		return 0, p.wrong(wholeNumber)
	}
	n, problem := parseWhole(literal)
	if problem != "" {
		return 0, p.fail(problem)
	}
	return n, fine
}

const (
	problemFraction = "a fraction where " + wholeNumber + " is expected"
	problemTooLarge = "a number that is too large"
)

// parseWhole returns the value of a number of JSON, or why it is not a whole number that an int64 can hold.
func parseWhole(literal []byte) (n int64, problem string) {
	mantissa, exponent := literal, 0
	if i := bytes.IndexAny(literal, "eE"); i >= 0 {
		mantissa = literal[:i]
		var err error
		if exponent, err = strconv.Atoi(string(literal[i+1:])); err != nil {
			exponent = 1 << 30 // larger than any body; the only possible error of Atoi is the range
			if literal[i+1] == '-' {
				exponent = -exponent
			}
		}
	}
	before, after, _ := bytes.Cut(mantissa, []byte("."))
	all := append(append(make([]byte, 0, len(mantissa)+20), before...), after...)
	exponent -= len(after)
	minus := all[0] == '-'
	if minus {
		all = all[1:]
	}
	all = bytes.TrimLeft(all, "0")
	if len(all) == 0 {
		return 0, ""
	}
	trimmed := bytes.TrimRight(all, "0")
	exponent += len(all) - len(trimmed)
	switch {
	case exponent < 0:
		return 0, problemFraction
	case exponent > 19 || len(trimmed) > 19:
		return 0, problemTooLarge
	}
	for range exponent {
		trimmed = append(trimmed, '0')
	}
	sign := ""
	if minus {
		sign = "-"
	}
	n, err := strconv.ParseInt(sign+string(trimmed), 10, 64)
	if err != nil {
		return 0, problemTooLarge
	}
	return n, ""
}
