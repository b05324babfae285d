package sshproxy

import (
	"context"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// watched waits until somebody of the company watches the session, and asks the door again.
func (ch *channel) watched(ctx context.Context, op access.Operation) (*access.Grant, error) {
	err := ch.session.AwaitWatcher(ctx)
	switch {
	case ctx.Err() != nil && ch.session.Context().Err() == nil:
		return nil, told{noticeCancelled}
	case err != nil:
		return nil, err
	}
	return ch.session.Authorize(ctx, op)
}

// unwatched refuses to start a file transfer in a session that has to be watched and is not: nobody sits at a terminal who
// could wait.
func (ch *channel) unwatched(req *ssh.Request, operation string) bool {
	refusal := ch.session.NotWatched()
	if refusal == nil {
		return false
	}
	detail := map[string]any{"operation": operation, "reasons": []string{refusal.Reasons[0].ID}}
	if err := ch.session.Event(ch.conn.ctx, recorder.ClassCommand, "command.refused", recorder.Refused, detail); err != nil {
		ch.conn.proxy.cfg.Log.Error("a refusal is not on record", zap.String("session", ch.session.ID()), zap.Error(err))
	}
	ch.refuse(answering(req), refusalText(refusal))
	return true
}
