// Package testutil is what the tests of the module share: scripted transports, a fake token server, fixtures for each
// API call, and a transport that injects random faults. Only tests import it.
package testutil
