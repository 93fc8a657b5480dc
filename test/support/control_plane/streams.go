package main

import (
	"context"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// What a test does to the streams themselves, below go-control-plane: ends them, holds their messages back, slows them
// down, sends on them what no sane control plane would.
type streams struct {
	mutex sync.Mutex
	open  map[*stream]bool
	hold  map[string]bool // type URLs whose responses wait
	delay time.Duration   // before each response
	nodes sync.Map        // the node that a request came with; go-control-plane fills it in where there is none
}

type stream struct {
	grpc.ServerStream
	all    *streams
	delta  bool
	ctx    context.Context
	end    context.CancelFunc
	sendMu sync.Mutex
	held   map[string]interface{} // the latest response of a type that waits
}

func newStreams() *streams { return &streams{open: map[*stream]bool{}, hold: map[string]bool{}} }

func (s *streams) intercept(service interface{}, inner grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, end := context.WithCancel(inner.Context())
	defer end()
	method := info.FullMethod[1:]
	for i := range method {
		if method[i] == '/' {
			method = method[i+1:]
			break
		}
	}
	one := &stream{ServerStream: inner, all: s, ctx: ctx, end: end, delta: len(method) > 5 && method[:5] == "Delta", held: map[string]interface{}{}}
	s.mutex.Lock()
	s.open[one] = true
	s.mutex.Unlock()
	defer func() {
		s.mutex.Lock()
		delete(s.open, one)
		s.mutex.Unlock()
	}()
	return handler(service, one)
}

func (s *stream) Context() context.Context { return s.ctx }

// Ends with end() too, which go-control-plane learns of by its receiving side.
func (s *stream) RecvMsg(m interface{}) error {
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		if request, ok := m.(interface{ GetNode() *core.Node }); ok && err == nil {
			s.all.nodes.Store(m, request.GetNode())
		}
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *stream) SendMsg(m interface{}) error {
	url := responseType(m)
	s.all.mutex.Lock()
	hold, delay := s.all.hold[url], s.all.delay
	if hold {
		s.held[url] = m
	}
	s.all.mutex.Unlock()
	if hold {
		return nil
	}
	select {
	case <-time.After(delay):
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	return s.send(m)
}

// What the request came with; asked for once.
func (s *streams) nodeOf(request interface{}) *core.Node {
	node, _ := s.nodes.LoadAndDelete(request)
	found, _ := node.(*core.Node)
	return found
}

func (s *stream) send(m interface{}) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.ServerStream.SendMsg(m)
}

func responseType(m interface{}) string {
	switch r := m.(type) {
	case *discovery.DiscoveryResponse:
		return r.TypeUrl
	case *discovery.DeltaDiscoveryResponse:
		return r.TypeUrl
	}
	return ""
}

func (s *streams) all() []*stream {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	list := []*stream{}
	for one := range s.open {
		list = append(list, one)
	}
	return list
}

// Holds back the responses of these types from now on, and lets go of the others: of each stream the latest one.
func (s *streams) setHold(urls []string) {
	type release struct {
		on      *stream
		message interface{}
	}
	s.mutex.Lock()
	s.hold = map[string]bool{}
	for _, url := range urls {
		s.hold[url] = true
	}
	released := []release{}
	for one := range s.open {
		for url, m := range one.held {
			if !s.hold[url] {
				released = append(released, release{one, m})
				delete(one.held, url)
			}
		}
	}
	s.mutex.Unlock()
	for _, r := range released {
		r.on.send(r.message)
	}
}

func (s *streams) setDelay(d time.Duration) {
	s.mutex.Lock()
	s.delay = d
	s.mutex.Unlock()
}

// Ends every stream with an OK status, as a control plane does that balances its clients.
func (s *streams) drop() {
	for _, one := range s.all() {
		one.end()
	}
}

// Sends a response of the test's own on every stream of its kind; how many there were.
func (s *streams) sendRaw(m interface{}) int {
	_, delta := m.(*discovery.DeltaDiscoveryResponse)
	n := 0
	for _, one := range s.all() {
		if one.delta == delta && one.send(m) == nil {
			n++
		}
	}
	return n
}
