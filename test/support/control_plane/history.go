package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	xds "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Entries beyond these push out the oldest.
const historyMax = 100000

// One thing that happened on a stream.
type event struct {
	N        int                 `json:"n"`
	Seconds  float64             `json:"seconds"` // since the control plane began
	Stream   int64               `json:"stream"`
	Kind     string              `json:"kind"` // open, request, response, closed
	Delta    bool                `json:"delta,omitempty"`
	Type     string              `json:"type,omitempty"` // type URL
	Version  string              `json:"version,omitempty"`
	Nonce    string              `json:"nonce,omitempty"`
	Names    []string            `json:"names,omitempty"` // asked for; of a delta request: subscribed to
	Drop     []string            `json:"unsubscribe,omitempty"`
	Initial  map[string]string   `json:"initial_versions,omitempty"`
	Error    string              `json:"error,omitempty"` // of a NACK
	Code     int32               `json:"code,omitempty"`
	Node     json.RawMessage     `json:"node,omitempty"`       // only where the request itself had one; without its extensions ...
	Known    int                 `json:"extensions,omitempty"` // ... which are counted
	Metadata map[string][]string `json:"metadata,omitempty"`   // of an open, as what follows
	SNI      string              `json:"sni,omitempty"`
	Peer     string              `json:"peer,omitempty"` // the common name of the client's certificate
	Sent     []string            `json:"sent,omitempty"`       // of a response: its resources
	Removed  []string            `json:"removed,omitempty"`
}

type history struct {
	began time.Time
	mutex sync.Mutex
	next  int
	list  []event
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) add(e event) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	e.N = h.next
	e.Seconds = time.Since(h.began).Seconds()
	h.next++
	if len(h.list) >= historyMax {
		h.list = append([]event(nil), h.list[historyMax/2:]...)
	}
	h.list = append(h.list, e)
}

func (h *history) since(n int) []event {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for i, e := range h.list {
		if e.N >= n {
			return append([]event{}, h.list[i:]...)
		}
	}
	return []event{}
}

func nodeJSON(node *core.Node) json.RawMessage {
	if node == nil {
		return nil
	}
	short := proto.Clone(node).(*core.Node)
	short.Extensions = nil
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(short)
	if err != nil {
		return json.RawMessage(`"not printable"`)
	}
	return text
}

func namesOf(list []*anypb.Any) []string {
	names := []string{}
	for _, any := range list {
		name := "?"
		if m, err := any.UnmarshalNew(); err == nil {
			if wrapped, ok := m.(*discovery.Resource); ok {
				name = wrapped.GetName()
			} else {
				name = cache.GetResourceName(m)
			}
		}
		names = append(names, name)
	}
	return names
}

func (p *plane) callbacks() xds.Callbacks {
	opened := func(delta bool) func(context.Context, int64, string) error {
		return func(ctx context.Context, id int64, url string) error {
			md, _ := metadata.FromIncomingContext(ctx)
			e := event{Stream: id, Kind: "open", Delta: delta, Type: url, Metadata: md}
			if client, ok := peer.FromContext(ctx); ok {
				if secured, ok := client.AuthInfo.(credentials.TLSInfo); ok {
					e.SNI = secured.State.ServerName
					if chain := secured.State.PeerCertificates; len(chain) > 0 {
						e.Peer = chain[0].Subject.CommonName
					}
				}
			}
			p.history.add(e)
			return nil
		}
	}
	closed := func(delta bool) func(int64, *core.Node) {
		return func(id int64, _ *core.Node) { p.history.add(event{Stream: id, Kind: "closed", Delta: delta}) }
	}
	return xds.CallbackFuncs{
		StreamOpenFunc:        opened(false),
		DeltaStreamOpenFunc:   opened(true),
		StreamClosedFunc:      closed(false),
		DeltaStreamClosedFunc: closed(true),
		StreamRequestFunc: func(id int64, r *discovery.DiscoveryRequest) error {
			node := p.streams.nodeOf(r)
			p.history.add(event{Stream: id, Kind: "request", Type: r.TypeUrl, Version: r.VersionInfo, Nonce: r.ResponseNonce,
				Names: r.ResourceNames, Error: r.GetErrorDetail().GetMessage(), Code: r.GetErrorDetail().GetCode(), Node: nodeJSON(node), Known: len(node.GetExtensions())})
			return nil
		},
		StreamResponseFunc: func(_ context.Context, id int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			p.history.add(event{Stream: id, Kind: "response", Type: r.TypeUrl, Version: r.VersionInfo, Nonce: r.Nonce, Sent: namesOf(r.Resources)})
		},
		StreamDeltaRequestFunc: func(id int64, r *discovery.DeltaDiscoveryRequest) error {
			node := p.streams.nodeOf(r)
			p.history.add(event{Stream: id, Kind: "request", Delta: true, Type: r.TypeUrl, Nonce: r.ResponseNonce, Names: r.ResourceNamesSubscribe,
				Drop: r.ResourceNamesUnsubscribe, Initial: r.InitialResourceVersions, Error: r.GetErrorDetail().GetMessage(),
				Code: r.GetErrorDetail().GetCode(), Node: nodeJSON(node), Known: len(node.GetExtensions())})
			return nil
		},
		StreamDeltaResponseFunc: func(id int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			names := []string{}
			for _, resource := range r.Resources {
				names = append(names, resource.Name)
			}
			p.history.add(event{Stream: id, Kind: "response", Delta: true, Type: r.TypeUrl, Version: r.SystemVersionInfo, Nonce: r.Nonce, Sent: names,
				Removed: r.RemovedResources})
		},
	}
}
