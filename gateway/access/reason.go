package access

import "github.com/sekisho/sekisho/policy"

var notCarriedOut = policy.Reason{ID: "obligation-unknown",
	EN: "Policy allows this only under an obligation that this gateway cannot carry out (download, watermark, max_bytes, or supervise outside SSH).",
	JA: "このゲートウェイが実行できない義務（download、watermark、max_bytes、SSH 以外の supervise）が条件になっています。"}

// OwnReason words one of the door's own reasons again, of which a kept decision has the id. One that it does not know any
// more is its id.
func OwnReason(id string) policy.Reason {
	for _, r := range []policy.Reason{notYours, revokedReason, notOpen, targetMoved, lineTooLong, lineNotShown, opaqueReason(""), notCarriedOut,
		notWatched, ownSession, duringEmergency, ownRequest, allowedAnyway} {
		if r.ID == id {
			return r
		}
	}
	return policy.Reason{ID: id, EN: id, JA: id}
}
