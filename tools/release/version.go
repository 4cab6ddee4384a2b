package main

import (
	"fmt"
	"slices"
)

// version is the version of a release: major, minor, patch.
type version [3]int

func (v version) String() string { return fmt.Sprintf("v%d.%d.%d", v[0], v[1], v[2]) }

// parseVersion parses a version. It refuses pre-releases, which "go get" does not select by default.
func parseVersion(name string) (v version, err error) {
	if _, err := fmt.Sscanf(name, "v%d.%d.%d", &v[0], &v[1], &v[2]); err != nil || v.String() != name ||
		slices.Min(v[:]) < 0 {
		return v, fmt.Errorf("%q is not a version such as v0.2.0", name)
	}
	if v[0] > 1 {
		return v, fmt.Errorf("%s needs the path of each module to end with /v%d: change that first, and this program", name,
			v[0])
	}
	return v, nil
}

// latest returns the latest release among the tags, or nil.
func latest(tags []string) (last *version) {
	for _, tag := range tags {
		if v, err := parseVersion(tag); err == nil && (last == nil || slices.Compare(v[:], last[:]) > 0) {
			last = &v
		}
	}
	return last
}

// step is the kind of a new version: major, minor or patch.
type step int

const (
	patch step = iota
	minor
	major
)

func (s step) String() string {
	return [...]string{"patch version", "minor version", "major version"}[s]
}

// stepTo returns the step from the last version to the next one. It returns an error unless next follows last directly.
func (v *version) stepTo(next version) (step, error) {
	if v == nil {
		return major, nil
	}
	for s, follows := range []version{{v[0], v[1], v[2] + 1}, {v[0], v[1] + 1, 0}, {v[0] + 1, 0, 0}} {
		if next == follows {
			return step(s), nil
		}
	}
	return 0, fmt.Errorf("%s does not follow %s, the last release", next, v)
}
