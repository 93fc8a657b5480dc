#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "envoy/config/core/v3/base.pb.h"
#include "xds/subscription.h"

namespace sluice::xds {

// What a subscription is to a mux.
class Watcher {
 public:
  virtual Status on_update(const Update& update) = 0;
  virtual void on_rejected(const Error& why) = 0;  // a response was refused before anybody saw it
  virtual void on_disconnected() = 0;

 protected:
  ~Watcher() = default;
};

// One watcher's names. Destroying it ends the interest; may be done inside any callback but its own. Ends before its mux.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual void set_names(const std::unordered_set<std::string>& names) = 0;  // empty: wildcard
};

// One stream's worth of the xDS protocol, without a stream: state of the world (SotwMux) or incremental (DeltaMux), one
// type or, for ADS, all. Envoy's GrpcMuxImpl and NewGrpcMuxImpl. Bytes come in by on_message, requests leave by
// Transport::send.
class Mux {
 public:
  class Transport {
   public:
    virtual bool open() const = 0;
    // Takes a token of the rate limit, where there is one; false: not now, flush() again when told.
    virtual bool take_token() = 0;
    virtual void send(const google::protobuf::Message& request) = 0;
    virtual void note_pending(size_t requests) = 0;  // that wait for tokens
    virtual void note_identifier(const std::string& control_plane) = 0;
    // Something waits to be sent: call flush() at the end of this turn.
    virtual void flush_soon() = 0;
    // Call on_time() then (a TTL); an earlier call takes the place of a later one.
    virtual void wake_at(MonotonicTime when) = 0;

   protected:
    ~Transport() = default;
  };
  struct Options {
    envoy::config::core::v3::Node node;
    bool node_on_first_message_only = false;
  };

  Mux(Transport& transport, Options options);
  virtual ~Mux();
  Mux(const Mux&) = delete;

  std::unique_ptr<Watch> watch(ResourceType type, const std::unordered_set<std::string>& names,
                               Watcher& watcher);
  // Requests of the type are held back between the two; they nest.
  void pause(ResourceType type);
  void resume(ResourceType type);

  virtual void on_open() = 0;
  void on_closed();  // an open stream ended, or none could be had
  // An error: that was no message of the protocol; reset the stream.
  virtual Status on_message(std::string_view bytes, MonotonicTime now) = 0;
  virtual void flush() = 0;
  void on_time(MonotonicTime now);

 protected:
  class WatchImpl;
  // Names that nobody wanted before, or nobody wants any more; a "*" that a watch names is a name here.
  struct Interest {
    std::vector<std::string> added, removed;
  };
  struct Type {
    explicit Type(ResourceType t) : type(t) {}
    const ResourceType type;
    size_t watches = 0;
    std::vector<WatchImpl*> wildcards;
    std::map<std::string, std::vector<WatchImpl*>> interest;  // by name
    unsigned pauses = 0;
    // Hashes of resources that were accepted last: they need no unpacking.
    std::unordered_map<std::string, uint64_t> accepted;
    std::map<std::string, MonotonicTime> expiries;  // of resources with a TTL

    bool wanted(const std::string& name) const { return !wildcards.empty() || interest.contains(name); }
  };

  virtual Type& type_state(ResourceType type) = 0;  // makes it
  virtual Type* find_type(ResourceType type) = 0;
  virtual std::vector<Type*> all_types() = 0;
  virtual void on_interest(Type& type, const Interest& change) = 0;
  virtual void on_resumed(Type& type) = 0;
  virtual void on_expired(Type& type, const std::vector<std::string>& names) = 0;

  // Delivers to those who want them; all errors, joined.
  Status deliver(Type& type, const Update& update);
  // Hands a refusal to every watcher of the type and returns it.
  Error reject(Type& type, Error why);
  // The resource's bytes: hashed, and unpacked where they are new.
  Result<Resource> read(Type& type, std::string_view name, std::string_view version, std::string_view bytes);
  void note_accepted(Type& type, const Update& update);
  void set_expiry(Type& type, const std::string& name, std::optional<Duration> ttl, MonotonicTime now);
  void note_control_plane(const envoy::config::core::v3::ControlPlane& from);

  Transport& transport_;
  const Options options_;

 private:
  void set_names(WatchImpl& watch, const std::unordered_set<std::string>& names);
  void remove(WatchImpl& watch);
  void arm();

  std::unordered_map<WatchImpl*, std::shared_ptr<WatchImpl>> watches_;
};

// A text as it goes into error_detail: Envoy cuts at 3,840 bytes, since headers carry it elsewhere.
std::string nack_text(std::string text);

}  // namespace sluice::xds
