package access

import (
	"context"
	"fmt"
	"slices"

	"github.com/sekisho/sekisho/gateway/identity"
)

// Requests lists approval requests, newest first. One whose time has passed unanswered is shown as expired.
func (d *Door) Requests(ctx context.Context, by identity.Principal, status RequestStatus, limit int) ([]ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.request.list", ""); err != nil {
		return nil, err
	}
	return d.requests(ctx, by, RequestQuery{Status: status, Limit: limit})
}

// OwnRequests lists the requests that somebody has made, newest first.
func (d *Door) OwnRequests(ctx context.Context, by identity.Principal, limit int) ([]ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.self.requests", ""); err != nil {
		return nil, err
	}
	return d.requests(ctx, by, RequestQuery{Person: by.Person, Limit: limit})
}

// Request finds one request, for whoever may see them all.
func (d *Door) Request(ctx context.Context, by identity.Principal, id string) (ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.request.list", ""); err != nil {
		return ApprovalRequest{}, err
	}
	return d.request(ctx, by, id)
}

// OwnRequest finds a request that somebody has made; another person's is not found.
func (d *Door) OwnRequest(ctx context.Context, by identity.Principal, id string) (ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.self.requests", ""); err != nil {
		return ApprovalRequest{}, err
	}
	r, err := d.request(ctx, by, id)
	if err == nil && r.Person != by.Person {
		return ApprovalRequest{}, fmt.Errorf("request %s: %w", clip(id, 64), ErrNotFound)
	}
	return r, err
}

func (d *Door) request(ctx context.Context, by identity.Principal, id string) (ApprovalRequest, error) {
	r, err := d.cfg.Store.Request(ctx, id)
	if err != nil {
		return ApprovalRequest{}, fmt.Errorf("request %s: %w", clip(id, 64), err)
	}
	d.show(&r, by)
	return r, nil
}

func (d *Door) requests(ctx context.Context, by identity.Principal, q RequestQuery) ([]ApprovalRequest, error) {
	all, err := d.cfg.Store.Requests(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	for i := range all {
		d.show(&all[i], by)
	}
	return slices.DeleteFunc(all, func(r ApprovalRequest) bool { return q.Status != "" && r.Status != q.Status }), nil
}

// show makes a stored request what a person sees of it now.
func (d *Door) show(r *ApprovalRequest, by identity.Principal) {
	now := d.cfg.Now()
	r.complete()
	if r.Status == RequestPending && !now.Before(r.Expires) {
		r.Status = RequestExpired
	}
	if r.Status != RequestPending {
		return
	}
	route := d.route(*r)
	_, may := d.mayAnswer(by.Person, *r, now)
	r.Terms = &Terms{Need: route.Need, Have: len(d.approvers(*r, now)), MaxMinutes: route.MaxMinutes, Exact: route.Exact,
		Ticket: route.Ticket, Routes: route.Names, MayAnswer: may}
}
