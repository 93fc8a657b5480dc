#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/mux.h"
#include "xds/resource.h"

// A mux with a transport that keeps what is sent, and watchers that keep what they get.
namespace sluice::xds {

namespace discovery = envoy::service::discovery::v3;
using Cluster = envoy::config::cluster::v3::Cluster;
using Names = std::vector<std::string>;

inline const std::string kClusters(type_url(ResourceType::cluster));
inline const std::string kEndpoints(type_url(ResourceType::endpoints));

template <typename Request>
struct FakeTransport final : Mux::Transport {
  bool open() const override { return is_open; }
  bool take_token() override {
    if (tokens == 0) return false;
    if (tokens > 0) --tokens;
    return true;
  }
  void send(const google::protobuf::Message& request, std::initializer_list<std::string_view> rest) override {
    std::string bytes = request.SerializeAsString();
    for (const std::string_view part : rest) bytes += part;
    REQUIRE(sent.emplace_back().ParseFromString(bytes));
  }
  void note_pending(size_t n) override { pending = n; }
  void note_identifier(const std::string& from) override { identifier = from; }
  void flush_soon() override { flush_wanted = true; }
  void wake_at(MonotonicTime at) override { wake = at; }

  // The requests since the last call.
  std::vector<Request> take() { return std::exchange(sent, {}); }

  bool is_open = false, flush_wanted = false;
  int tokens = -1;  // without end
  size_t pending = 0;
  std::string identifier;
  MonotonicTime wake{};
  std::vector<Request> sent;
};

struct FakeWatcher final : Watcher {
  Status on_update(const Update& u) override {
    ++updates;
    delta = u.delta;
    version = u.version;
    names.clear();
    for (const Resource& r : u.resources) {
      names.emplace_back(r.name);
      unpacked += r.is_new;
    }
    same_count = u.same != nullptr ? u.same->count() : 0;
    same_names.clear();
    for (const std::string& name : ask_for) {
      if (u.same != nullptr && u.same->has(name)) same_names.push_back(name);
    }
    removed = u.removed;
    if (during) during();
    if (!refuse.empty()) return Error{refuse};
    return {};
  }
  void on_rejected(const Error& why) override { ++rejected, reason = why.message; }
  void on_disconnected() override { ++disconnected; }
  bool only_counts() const override { return counts; }
  bool takes_same() const override { return takes; }
  void on_same(uint64_t responses, const std::string& v, MonotonicTime at) override {
    same += responses;
    version = v;
    same_at = at;
  }

  int updates = 0, rejected = 0, disconnected = 0, unpacked = 0;
  bool delta = false, counts = false, takes = false;
  size_t same_count = 0;
  Names ask_for, same_names;
  uint64_t same = 0;
  MonotonicTime same_at{};
  std::string version, refuse, reason;
  Names names, removed;
  std::function<void()> during;
};

inline std::string cluster_bytes(const std::string& name, const std::string& alt = "") {
  Cluster c;
  c.set_name(name);
  c.set_alt_stat_name(alt);
  return c.SerializeAsString();
}

inline google::protobuf::Any any_of(const std::string& url, std::string bytes) {
  google::protobuf::Any out;
  out.set_type_url(url);
  out.set_value(std::move(bytes));
  return out;
}

// A message as a stream gives it: `step` more bytes each time (0: all at once), and what the mux is done with never again.
// `between`, after each part, is told how many bytes have come.
inline Status feed(Mux& mux, const std::string& bytes, MonotonicTime now, size_t step,
                   const std::function<void(size_t)>& between = {}) {
  size_t done = 0;
  for (size_t there = step; step > 0 && there < bytes.size(); there += step) {
    done += mux.on_part(std::string(bytes, done, there - done), bytes.size() - done);
    REQUIRE(done <= there);
    if (between) between(there);
  }
  return mux.on_message(bytes.substr(done), now);
}

// For a rig's constructor: its test runs with messages that come whole and with others that come in parts.
inline size_t any_step() {
  size_t step = 0;
  SUBCASE("messages come whole") {}
  SUBCASE("messages come byte by byte") {
    step = 1;
  }
  SUBCASE("messages come in parts") {
    step = 150;
  }
  return step;
}

// A response taken apart as it comes: up to `parts` in turn, then to its end. What was given lies in `given`.
inline bool take_apart(TakenResponse& taken, std::string_view input, std::vector<size_t> parts,
                       std::deque<std::string>& given) {
  size_t done = 0;
  parts.push_back(input.size());
  for (const size_t n : parts)
    if (n >= done) done += taken.take(given.emplace_back(input.substr(done, n - done)));
  return done == input.size();
}

inline Mux::Options options(bool node_once = false) {
  Mux::Options o;
  o.node.set_id("me");
  o.node_on_first_message_only = node_once;
  return o;
}

inline Names names_of(const google::protobuf::RepeatedPtrField<std::string>& list) {
  Names out(list.begin(), list.end());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace sluice::xds
