//go:build tools

// Pins the versions that tools/setup builds h2spec from.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
