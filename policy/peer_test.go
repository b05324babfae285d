package policy_test

import (
	_ "github.com/cedar-policy/cedar-go"
	_ "github.com/open-policy-agent/opa/v1/format"
	_ "github.com/open-policy-agent/opa/v1/rego"
)
