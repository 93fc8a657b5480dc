#include "proxy/loop_guard.h"

#include <doctest/doctest.h>

using namespace sluice;
using namespace sluice::proxy;

namespace {

constexpr uint64_t kNode = 0, kPod = 4711, kOtherPod = 4712;

Address at(const char* text) {
  return *Address::parse(text);
}

// A connection in a namespace, from `remote`, that came in on `local`.
struct Came {
  ext::StreamInfo info;
  ext::Upstream::Origin origin;
  Came(uint64_t netns, const char* local, const char* remote) {
    info.downstream_direct_local = at(local);
    info.downstream_direct_remote = at(remote);
    origin.stream = &info;
    origin.netns_cookie = netns;
  }
};

}  // namespace

TEST_CASE("loop guard: a port is a listener's in its own namespace only") {
  LoopGuard guard;
  guard.add(kNode, at("0.0.0.0:8080"));
  guard.add(kPod, at("0.0.0.0:15006"));
  Came pod(kPod, "10.0.0.7:8080", "10.0.0.9:40000"), other(kOtherPod, "10.0.0.8:8080", "10.0.0.9:40000"),
      node(kNode, "10.0.0.1:8080", "10.0.0.9:40000");
  CHECK(!guard.refuses(at("10.0.0.7:8080"), pod.origin));  // the application's own
  CHECK(!guard.refuses(at("127.0.0.1:8080"), pod.origin));
  CHECK(guard.refuses(at("10.0.0.7:15006"), pod.origin));
  CHECK(!guard.refuses(at("10.0.0.8:15006"), other.origin));
  CHECK(guard.refuses(at("10.0.0.1:8080"), node.origin));
  CHECK(!guard.refuses(at("10.0.0.1:15006"), node.origin));
}

TEST_CASE("loop guard: a wildcard is every address of its namespace, as far as the connection shows them") {
  LoopGuard guard;
  guard.add(kPod, at("0.0.0.0:15001"));
  Came out(kPod, "127.0.0.5:15001", "10.0.0.7:40000");
  CHECK(guard.refuses(at("127.0.0.1:15001"), out.origin));
  CHECK(guard.refuses(at("127.0.0.5:15001"), out.origin));
  CHECK(guard.refuses(at("10.0.0.7:15001"), out.origin));  // it calls itself
  CHECK(!guard.refuses(at("10.0.0.8:15001"), out.origin));  // somebody else's proxy
  CHECK(!guard.refuses(at("10.0.0.7:15002"), out.origin));
  CHECK(!guard.refuses(at("[::1]:15001"), out.origin));  // nobody listens there
  guard.add(kPod, at("[::]:15001"));
  CHECK(guard.refuses(at("[::1]:15001"), out.origin));
  ext::Upstream::Origin bare;
  bare.netns_cookie = kPod;
  CHECK(guard.refuses(at("127.0.0.1:15001"), bare));
}

TEST_CASE("loop guard: [::] may serve IPv4 too") {
  LoopGuard guard;
  guard.add(kNode, at("[::]:80"));
  Came in(kNode, "10.0.0.1:80", "10.0.0.9:40000");
  CHECK(guard.refuses(at("10.0.0.1:80"), in.origin));
}

TEST_CASE("loop guard: a listener of one address is no other address") {
  LoopGuard guard;
  guard.add(kNode, at("10.0.0.1:80"));
  Came in(kNode, "10.0.0.2:80", "10.0.0.9:40000");
  CHECK(guard.refuses(at("10.0.0.1:80"), in.origin));
  CHECK(!guard.refuses(at("10.0.0.2:80"), in.origin));
  CHECK(!guard.refuses(at("127.0.0.1:80"), in.origin));
}

TEST_CASE("loop guard: the last of a port's listeners has to go") {
  LoopGuard guard;
  Came in(kPod, "10.0.0.7:80", "10.0.0.9:40000");
  guard.add(kPod, at("0.0.0.0:80"));
  guard.add(kPod, at("0.0.0.0:80"));  // the new one, while the old one drains
  guard.remove(kPod, at("0.0.0.0:80"));
  CHECK(guard.refuses(at("10.0.0.7:80"), in.origin));
  guard.remove(kPod, at("0.0.0.0:80"));
  CHECK(!guard.refuses(at("10.0.0.7:80"), in.origin));
  guard.remove(kPod, at("0.0.0.0:80"));  // one too many is no harm
  guard.add(kNode, *Address::pipe("/tmp/x"));
}
