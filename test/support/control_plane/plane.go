package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	extensionservice "github.com/envoyproxy/go-control-plane/envoy/service/extension/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	secretservice "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/config"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	xds "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// Every proxy gets the same snapshot, whoever it says it is.
const everybody = "everybody"

type anyNode struct{}

func (anyNode) ID(*core.Node) string { return everybody }

type plane struct {
	address string
	ads     bool
	tls     *tls.Config // nil: in clear
	cache   cache.SnapshotCache
	history *history
	streams *streams

	mutex    sync.Mutex // guards what follows
	server   *grpc.Server
	versions map[string]string                           // by type URL
	held     map[string]map[string]types.ResourceWithTTL // by type URL and name
}

func newPlane(address string, ads bool) *plane {
	return &plane{
		address:  address,
		ads:      ads,
		cache:    cache.NewSnapshotCacheWithHeartbeating(context.Background(), ads, anyNode{}, nil, 500*time.Millisecond),
		history:  newHistory(),
		streams:  newStreams(),
		versions: map[string]string{},
		held:     map[string]map[string]types.ResourceWithTTL{},
	}
}

// Begins to serve; no effect while it does.
func (p *plane) up() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.server != nil {
		return nil
	}
	network, address := "tcp", p.address
	if path := strings.TrimPrefix(address, "unix:"); path != address {
		network, address = "unix", path
		os.Remove(path)
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	serve := []grpc.ServerOption{grpc.StreamInterceptor(p.streams.intercept), grpc.MaxRecvMsgSize(1 << 28), grpc.MaxSendMsgSize(1 << 28)}
	if p.tls != nil {
		serve = append(serve, grpc.Creds(credentials.NewTLS(p.tls)))
	}
	server := grpc.NewServer(serve...)
	options := []config.XDSOption{}
	if p.ads {
		options = append(options, sotw.WithOrderedADS())
	}
	service := xds.NewServer(context.Background(), p.cache, p.callbacks(), options...)
	discovery.RegisterAggregatedDiscoveryServiceServer(server, service)
	clusterservice.RegisterClusterDiscoveryServiceServer(server, service)
	endpointservice.RegisterEndpointDiscoveryServiceServer(server, service)
	listenerservice.RegisterListenerDiscoveryServiceServer(server, service)
	routeservice.RegisterRouteDiscoveryServiceServer(server, service)
	routeservice.RegisterScopedRoutesDiscoveryServiceServer(server, service)
	routeservice.RegisterVirtualHostDiscoveryServiceServer(server, service)
	secretservice.RegisterSecretDiscoveryServiceServer(server, service)
	extensionservice.RegisterExtensionConfigDiscoveryServiceServer(server, service)
	p.server = server
	go server.Serve(listener)
	return nil
}

// Closes the listening socket and every connection at once, as a killed process would; the snapshot stays.
func (p *plane) down() {
	p.mutex.Lock()
	server := p.server
	p.server = nil
	p.mutex.Unlock()
	if server != nil {
		server.Stop()
	}
}

// What a request to change resources says; version: of the types it names.
type change struct {
	version string
	set     []types.ResourceWithTTL
	remove  map[string][]string // by type URL
	replace bool                // `set` is all there is of its types, and of `types`
	types   []string
}

// Applies it as one snapshot.
func (p *plane) apply(c change) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	touched := map[string]bool{}
	for _, t := range c.types {
		touched[t] = true
	}
	for _, r := range c.set {
		touched[typeURL(r.Resource)] = true
	}
	for t := range c.remove {
		touched[t] = true
	}
	for t := range touched {
		if cache.GetResponseType(t) == types.UnknownType {
			return fmt.Errorf("the snapshot cache has no type %s", t)
		}
		if c.replace || p.held[t] == nil {
			p.held[t] = map[string]types.ResourceWithTTL{}
		}
		if c.version != "" {
			p.versions[t] = c.version
		}
	}
	for _, r := range c.set {
		p.held[typeURL(r.Resource)][cache.GetResourceName(r.Resource)] = r
	}
	for t, names := range c.remove {
		for _, name := range names {
			delete(p.held[t], name)
		}
	}
	snapshot := &cache.Snapshot{}
	for t, byName := range p.held {
		items := make(map[string]types.ResourceWithTTL, len(byName))
		for name, r := range byName {
			items[name] = r
		}
		snapshot.Resources[cache.GetResponseType(t)] = cache.Resources{Version: p.versions[t], Items: items}
	}
	return p.cache.SetSnapshot(context.Background(), everybody, snapshot)
}

func typeURL(m proto.Message) string {
	return "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
}
