package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// The bodies of the requests. Resources are in protobuf's JSON, each with its "@type" beside its fields; or
// {"@type": ..., "@value": base64 of its bytes} for what this build's API does not know.
type changeBody struct {
	Version string              `json:"version"`
	Set     []json.RawMessage   `json:"set"`
	Remove  map[string][]string `json:"remove"`
	Replace bool                `json:"replace"`
	Types   []string            `json:"types"`
	TTL     map[string]float64  `json:"ttl"` // seconds, by name
}

type rawBody struct {
	Delta     bool     `json:"delta"`
	Type      string   `json:"type"`
	Version   string   `json:"version"`
	Nonce     string   `json:"nonce"`
	Removed   []string `json:"removed"`
	Resources []struct {
		Type    string `json:"type"`
		Name    string `json:"name"`    // delta
		Version string `json:"version"` // delta
		Value   string `json:"value"`   // base64
	} `json:"resources"`
	ControlPlane string `json:"control_plane"`
}

type sendBody struct {
	Hold    []string `json:"hold"` // type URLs; replaces what was held
	DelayMS *int     `json:"delay_ms"`
}

func parseResource(text json.RawMessage) (proto.Message, error) {
	var head struct {
		Type  string `json:"@type"`
		Value string `json:"@value"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	if head.Type == "" {
		return nil, fmt.Errorf("a resource without @type")
	}
	any := &anypb.Any{TypeUrl: head.Type}
	if head.Value != "" {
		bytes, err := base64.StdEncoding.DecodeString(head.Value)
		if err != nil {
			return nil, err
		}
		any.Value = bytes
		return any.UnmarshalNew()
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByURL(head.Type)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", head.Type, err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "@type")
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	m := kind.New().Interface()
	return m, protojson.Unmarshal(body, m)
}

func (b changeBody) parse() (change, error) {
	c := change{version: b.Version, remove: b.Remove, replace: b.Replace, types: b.Types}
	for _, text := range b.Set {
		m, err := parseResource(text)
		if err != nil {
			return c, err
		}
		c.set = append(c.set, types.ResourceWithTTL{Resource: m})
	}
	for i := range c.set {
		if seconds, found := b.TTL[nameOf(c.set[i].Resource)]; found {
			ttl := time.Duration(seconds * float64(time.Second))
			c.set[i].TTL = &ttl
		}
	}
	return c, nil
}

func (b rawBody) parse() (interface{}, error) {
	if b.Delta {
		out := &discovery.DeltaDiscoveryResponse{TypeUrl: b.Type, SystemVersionInfo: b.Version, Nonce: b.Nonce, RemovedResources: b.Removed}
		for _, r := range b.Resources {
			value, err := base64.StdEncoding.DecodeString(r.Value)
			if err != nil {
				return nil, err
			}
			out.Resources = append(out.Resources, &discovery.Resource{Name: r.Name, Version: r.Version, Resource: &anypb.Any{TypeUrl: r.Type, Value: value}})
		}
		return out, nil
	}
	out := &discovery.DiscoveryResponse{TypeUrl: b.Type, VersionInfo: b.Version, Nonce: b.Nonce}
	if b.ControlPlane != "" {
		out.ControlPlane = controlPlane(b.ControlPlane)
	}
	for _, r := range b.Resources {
		value, err := base64.StdEncoding.DecodeString(r.Value)
		if err != nil {
			return nil, err
		}
		out.Resources = append(out.Resources, &anypb.Any{TypeUrl: r.Type, Value: value})
	}
	return out, nil
}

func (p *plane) handler() http.Handler {
	mux := http.NewServeMux()
	post := func(path string, f func(r *http.Request) (interface{}, error)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			out, err := f(r)
			w.Header().Set("content-type", "application/json")
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				out = map[string]string{"error": err.Error()}
			}
			json.NewEncoder(w).Encode(out)
		})
	}
	body := func(r *http.Request, into interface{}) error { return json.NewDecoder(r.Body).Decode(into) }
	done := map[string]bool{"ok": true}

	post("/change", func(r *http.Request) (interface{}, error) {
		var b changeBody
		if err := body(r, &b); err != nil {
			return nil, err
		}
		c, err := b.parse()
		if err != nil {
			return nil, err
		}
		return done, p.apply(c)
	})
	post("/raw", func(r *http.Request) (interface{}, error) {
		var b rawBody
		if err := body(r, &b); err != nil {
			return nil, err
		}
		m, err := b.parse()
		if err != nil {
			return nil, err
		}
		return map[string]int{"streams": p.streams.sendRaw(m)}, nil
	})
	post("/encode", func(r *http.Request) (interface{}, error) {
		var text json.RawMessage
		if err := body(r, &text); err != nil {
			return nil, err
		}
		m, err := parseResource(text)
		if err != nil {
			return nil, err
		}
		bytes, err := proto.Marshal(m)
		return map[string]string{"value": base64.StdEncoding.EncodeToString(bytes)}, err
	})
	post("/send", func(r *http.Request) (interface{}, error) {
		var b sendBody
		if err := body(r, &b); err != nil {
			return nil, err
		}
		if b.DelayMS != nil {
			p.streams.setDelay(time.Duration(*b.DelayMS) * time.Millisecond)
		}
		if b.Hold != nil {
			p.streams.setHold(b.Hold)
		}
		return done, nil
	})
	post("/drop", func(*http.Request) (interface{}, error) { p.streams.drop(); return done, nil })
	post("/down", func(*http.Request) (interface{}, error) { p.down(); return done, nil })
	post("/up", func(*http.Request) (interface{}, error) { return done, p.up() })
	post("/history", func(r *http.Request) (interface{}, error) {
		n, _ := strconv.Atoi(r.URL.Query().Get("since"))
		return p.history.since(n), nil
	})
	post("/streams", func(*http.Request) (interface{}, error) { return map[string]int{"open": len(p.streams.all())}, nil })
	return mux
}
