#pragma once

#include <google/protobuf/arena.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <initializer_list>
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
#include "xds/same_index.h"
#include "xds/subscription.h"

namespace sluice::xds {

// What a subscription is to a mux.
class Watcher {
 public:
  virtual Status on_update(const Update& update) = 0;
  virtual void on_rejected(const Error& why) = 0;  // a response was refused before anybody saw it
  virtual void on_disconnected() = 0;
  // Whether state-of-the-world responses that bring the same again need only be counted. Asked after an update that was
  // accepted, and good until the next one.
  virtual bool only_counts() const { return false; }
  virtual bool takes_same() const { return false; }  // see Subscriber
  // So many of them have come, the last one `at`: told before any other call, and by Mux::tell_counts().
  virtual void on_same(uint64_t responses, const std::string& version, MonotonicTime at) {}

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
    // `rest`: further fields of the request, as bytes.
    virtual void send(const google::protobuf::Message& request,
                      std::initializer_list<std::string_view> rest) = 0;
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

  explicit Mux(Transport& transport);
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
  // So much is there of the `left` bytes of the next message. How many of these, from the beginning, are done with:
  // neither on_part nor on_message is given them again. May be left out.
  virtual size_t on_part(std::string_view begun, size_t left) { return 0; }
  virtual void flush() = 0;
  void on_time(MonotonicTime now);
  // Tells watchers what has only been counted yet: somebody looks at statistics.
  void tell_counts();

 protected:
  static constexpr int kInternal = 13;  // google.rpc.Code of a NACK, as Envoy's
  class WatchImpl;
  // Names that nobody wanted before, or nobody wants any more; a "*" that a watch names is a name here.
  struct Interest {
    std::vector<std::string> added, removed;
  };
  template <typename T>
  using ByName = std::unordered_map<std::string, T, NameHash, std::equal_to<>>;
  // What is known of a resource. One that nobody asks for by name and that was not accepted is forgotten, but not while
  // a response is worked on.
  struct Name {
    std::vector<WatchImpl*> watches;
    std::optional<uint64_t>
        accepted;  // the hash of what was accepted last: bytes like those need no unpacking
    uint64_t told = 0;  // the delivery in which its watches had their turn
    bool quiet = false;  // in Type::quiet
    uint32_t again = 0;  // the response that brought it last, if it was quiet and a wildcard's
  };
  struct Type {
    explicit Type(ResourceType t) : type(t) {}
    virtual ~Type() = default;
    const ResourceType type;
    bool asked = false;  // a watch was there once: the type is asked for again on each stream
    size_t watches = 0;
    std::vector<WatchImpl*> wildcards;
    ByName<Name> names;
    size_t accepted = 0;  // names of which something was
    std::vector<std::string> idle;  // to be forgotten
    unsigned pauses = 0;
    std::map<std::string, MonotonicTime, std::less<>> expiries;  // of resources with a TTL
    // State of the world: names that nobody has to be told of when they come again, by the hash of what was accepted.
    // Each has one watch, which wants nothing else and only counts; or all are one wildcard's, which takes
    // Update::same. Marked with the response that brought it last.
    bool may_be_quiet = false;
    SameIndex<Name> quiet;
    // The response that passes over quiet ones as it comes, and those of them that are not quiet any more.
    uint32_t passing = 0;
    std::vector<std::string> passed;
    bool passed_all = false;  // every one
    struct {
      uint64_t count = 0;
      std::string version;  // of the last
      MonotonicTime at{};
    } same;  // responses that brought quiet ones

    bool wanted(const Name* name) const {
      return !wildcards.empty() || (name != nullptr && !name->watches.empty());
    }
    bool wanted(std::string_view name) const { return wanted(find(name)); }
    const Name* find(std::string_view name) const {
      const auto at = names.find(name);
      return at == names.end() ? nullptr : &at->second;
    }
  };

  virtual std::unique_ptr<Type> make_type(ResourceType type) = 0;
  virtual void on_interest(Type& type, const Interest& change) = 0;
  virtual void on_resumed(Type& type) = 0;
  virtual void on_expired(Type& type, const std::vector<std::string>& names) = 0;

  Type* find_type(std::string_view url) const;  // null: nobody has asked
  // The type that a response is for; null: nobody has asked, and the log says so.
  Type* asked_type(std::string_view url);
  // In order of their first watch, which is Envoy's of its types.
  const std::vector<std::unique_ptr<Type>>& types() const { return types_; }

  // A response's resources as they are read, each with what is known of it.
  using Arena = std::shared_ptr<google::protobuf::Arena>;
  struct Read {
    Update update;
    std::vector<Name*> names;  // of update.resources
    Arena arena;  // what is unpacked lies in it, and bytes that were kept
    uint32_t number = 0;  // of the response, never 0
    size_t same = 0;  // quiet ones that have come again: these are not in `update`
    MonotonicTime at{};
  };
  Read begin_read();
  static google::protobuf::Arena& arena_of(Read& read);
  // Whether bytes of this hash are a quiet one's again: then that is all there is to do.
  bool read_same(Type& type, uint64_t hash, Read& into);
  // Between these two read_same() may be asked before the response is all there. False: who has asked for a resource
  // since would have needed bytes that were passed over.
  void begin_passing(Type& type, const Read& read);
  bool end_passing(Type& type, Read& read);
  // One more: unpacked where its bytes, of this hash, are new. Passed over if nobody wants it.
  Status read(Type& type, std::string_view name, std::string_view version, std::string_view bytes,
              uint64_t hash, Read& into);
  // Delivers to those who want them; all errors, joined. Where there is none, it is accepted.
  Status deliver(Type& type, Read& read);
  // Hands a refusal to every watcher of the type and returns it.
  Error reject(Type& type, Error why);
  void set_expiry(Type& type, std::string_view name, std::optional<Duration> ttl, MonotonicTime now);
  void note_control_plane(const envoy::config::core::v3::ControlPlane& from);

  Transport& transport_;

 private:
  Type& type_state(ResourceType type);  // makes it
  void set_names(WatchImpl& watch, const std::unordered_set<std::string>& names);
  void remove(WatchImpl& watch);
  void arm();
  static void note_accepted(Type& type, const Read& read);
  static void calm(Type& type, Name& name, const Resource& resource);  // quiet from now on, if it may
  static void rouse(Type& type, std::string_view key, Name& name);
  static void rouse_all(Type& type);
  static void tell_count(const Type& type, const Name& name);  // of a quiet one
  static void count_same(Type& type, const Read& read);
  static void forget(Type& type, std::string_view name);  // what was accepted of it
  static void sweep(Type& type);

  uint64_t deliveries_ = 0;
  uint32_t reads_ = 0;
  bool delivering_ = false;
  std::vector<std::unique_ptr<Type>> types_;
  std::unordered_map<WatchImpl*, std::shared_ptr<WatchImpl>> watches_;
};

// The node as a stream's requests have it, as bytes: with the extensions it lists it is a hundred messages, which would
// be copied for each acknowledgement.
class NodeField {
 public:
  template <typename Request>
  static NodeField of(const Mux::Options& options) {
    Request only;
    *only.mutable_node() = options.node;
    return NodeField(only.SerializeAsString(), options.node_on_first_message_only);
  }
  void begin() { first_ = true; }  // a stream
  // Of the next request.
  std::string_view next() {
    return std::exchange(first_, false) || !first_only_ ? bytes_ : std::string_view();
  }

 private:
  NodeField(std::string bytes, bool first_only) : bytes_(std::move(bytes)), first_only_(first_only) {}
  std::string bytes_;
  bool first_only_, first_ = true;
};

// A text as it goes into error_detail: Envoy cuts at 3,840 bytes, since headers carry it elsewhere.
std::string nack_text(std::string text);

inline bool Mux::read_same(Type& type, uint64_t hash, Read& into) {
  auto* const slot = type.quiet.find(hash);
  if (slot == nullptr) return false;
  // Given twice: the first counts, but for a wildcard's subscriber, who may refuse that.
  if (std::exchange(slot->mark, into.number) == into.number) return type.wildcards.empty();
  ++into.same;
  if (!type.wildcards.empty()) type.quiet.value(*slot).again = into.number;
  return true;
}

}  // namespace sluice::xds
