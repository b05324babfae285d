package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sekisho/sekisho/gateway"
)

func TestTheExampleConfigurationIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sekisho.yaml")
	text, err := os.ReadFile("sekisho.yaml")
	must(t, err)
	must(t, os.WriteFile(path, text, 0o600))
	cfg, err := gateway.LoadConfig(path)
	must(t, err)
	if cfg.KeySource != "systemd-credential" || cfg.Recording.Commit != "before-show" || cfg.Demo {
		t.Errorf("the example says %+v", cfg)
	}
}
