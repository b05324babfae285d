package command_test

import "testing"

func TestTheEndsOfATransferNeedWhatTheyDoToTheirPaths(t *testing.T) {
	check(t, []lineCase{
		{"rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/app", "read /srv/app"},
		{"rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/a '/srv/b c'", "read /srv/a; read /srv/b c"},
		{"rsync --server --sender -de.LsfxCIvu . /srv/*.log", "read /srv/*.log"},
		{"rsync --server -vlogDtpre.iLsfxCIvu . /srv/app", "write /srv/app"},
		{"/usr/bin/rsync --server -logDtpre.iLsfxCIvu --partial . ''", "write ."},
		{"rsync --server -vlogDtpre.iLsfxCIvu --delete . /srv/app", "write /srv/app; delete /srv/app"},
		{"rsync --server -vlogDtpre.iLsfxCIvu --delete-excluded --timeout=60 --bwlimit=100 . /srv", "write /srv; delete /srv"},
		{"rsync --server --sender -vlogDtpre.iLsfxCIvu --remove-source-files . /srv", "read /srv; delete /srv"},
		{"rsync --server -vlogDtpre.iLsfxCIvu --backup-dir /old --link-dest=/last . /srv", "write /old; read /last; write /last; write /srv"},
		{"rsync --server -vlogDtpre.iLsfxCIvu --partial-dir .part . /srv", "write #; write /srv"},
		{"rsync --server -vlogDtpre.iLsfxCIvu . /etc/sudoers.d", "write /etc/sudoers.d; admin /etc/sudoers.d"},
		{"git-upload-pack '/srv/x.git'", "read /srv/x.git"},
		{"git upload-pack --timeout=5 /srv/x.git", "read /srv/x.git"},
		{"git-upload-archive /srv/x.git", "read /srv/x.git"},
		{"git-receive-pack '/srv/x y.git'", "write /srv/x y.git"},
		{"git -C /srv upload-pack x.git", "read #"},
		{"git --version", "read git --version"},
		{"git status", "execute git status"},
		{"git -C /srv/app pull", "execute git -C /srv/app pull; execute #"},
		{"rsync -a --delete /a /b", "execute rsync -a --delete /a /b; read /a; delete /a; write /b; delete /b"},
		{"rsync -a /a backup:/b", "execute rsync -a /a backup:/b; read /a"},
	})
}

func TestTransfersThatRunOrHideSomethingAreOpaque(t *testing.T) {
	for _, line := range []string{
		"rsync --server -vlogDtprse.iLsfxCIvu . /srv", // the paths come later
		"rsync --server -s . /srv",
		"rsync --server -e 'sh -c x' . /srv",
		"rsync --server '-vesh -c x' . /srv",
		"rsync --server -ve.x;y . /srv",
		"rsync --server --daemon . /srv",
		"rsync --server . /srv --daemon",
		"rsync --daemon --config=/tmp/x",
		"rsync --server --sender -r --files-from=/tmp/list . /srv",
		"rsync --server -r --log-file=/etc/x . /srv",
		"rsync --server -r -M--log-file=/etc/x . /srv",
		"rsync --server -r --write-devices . /dev/sda",
		"rsync --server -r --rsync-path=x . /srv",
		"rsync --server -r . /srv /etc",
		"rsync --server -r /srv",
		"rsync --server -r . $X",
		"rsync --server $X . /srv",
		"rsync --server",
		"rsync -e 'sh -c x' a b:c",
		"rsync -ave x a b:c",
		"rsync --rsh=x a b:c",
		"rsync --rsync-path 'rm x;rsync' a b:c",
		"rsync -a $X b",
		"git -c core.sshCommand=x fetch",
		"git -c alias.x='!rm y' x",
		"git --exec-path=/tmp x",
		"git --config-env=a=b fetch",
		"git clone --upload-pack=x a b",
		"git clone --upload-pa x a b",
		"git clone -u x a b",
		"git clone -c core.fsmonitor=x a",
		"git fetch --upload-pack x a",
		"git push --receive-pack=x a",
		"git push --exec=x a",
		"git archive --remote=a --exec=x",
		"git rebase -x 'rm y' main",
		"git rebase --exec 'rm y' main",
		"git grep -O'rm y' x",
		"git submodule foreach 'rm y'",
		"git bisect run rm y",
		"git clone 'ext::sh -c x' y",
		"git difftool -x rm",
		"git $X",
		"git-upload-pack",
		"git-upload-pack --upload-pack=x /srv",
		"git-receive-pack /a /b",
		"git-receive-pack $X",
		"git-shell -c x",
		"env scp -t /etc",
		"command /usr/lib/openssh/sftp-server",
		"sh -c 'exec scp -f /etc/shadow'",
	} {
		t.Run(line, func(t *testing.T) {
			if r := shipped(t).Classify(line); !r.Opaque {
				t.Errorf("needs %s", said(line, r))
			}
		})
	}
}
