#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>

#include "core/address.h"
#include "core/fd.h"
#include "redirect/redirector.h"

// A host in miniature: a private cgroup (the only one the programs are attached to), a bpffs, a state directory and
// network namespaces, all named by pid and removed whatever happens.
template <>
struct doctest::StringMaker<sluice::Address> {
  static doctest::String convert(const sluice::Address& a) {
    return a.valid() ? a.to_string().c_str() : "no address";
  }
};

namespace sluice::test {

// False, with a message, when this process may not do BPF. SLUICE_TEST_REQUIRE_ROOT=1 makes that a failure.
bool can_run();

class Host {
 public:
  Host();
  ~Host();
  Host(const Host&) = delete;

  redirect::Options options() const;
  uint64_t cgroup_id() const;
  const std::string& dir() const { return dir_; }
  const std::string& cgroup() const { return cgroup_; }
  std::string make_child_cgroup(const std::string& name);
  static void enter_cgroup(const std::string& path);  // the whole process

  // A network namespace with lo up; `path` can be enrolled.
  std::string make_netns(const std::string& name);
  void drop_netns(const std::string& name);
  // veth between two namespaces: 10.77.0.1/24 and fd77::1/64 in a, .2 and ::2 in b.
  void join(const std::string& a, const std::string& b);

  static void in(const std::string& netns, const std::function<void()>& fn);  // on a thread of its own

 private:
  std::string dir_, cgroup_, cgroup_before_;
  std::vector<std::string> netns_, children_;
};

// Blocking sockets with a deadline on every wait; each asserts that it worked.
Fd listen_on(const std::string& address, uint16_t port, bool reuseport = false, bool v6only = true);
Fd socket_for(int family, uint32_t mark = 0);
int connect_errno(int fd, const Address& to);  // 0 or errno
Fd accept_one(int listener);  // fails the test after 5 s
bool nothing_to_accept(int listener);
Address local_of(int fd);
Address peer_of(int fd);
Address addr(const std::string& text);
Address mapped(const std::string& v4_text);  // ::ffff:a.b.c.d
uint64_t counter(const redirect::Redirector& r, const std::string& name);
// Whether sk_lookup has decided so often, or more often: where a connection is gone, what its peer still sends is looked up
// as well. If not, all counters are said.
bool decided(const redirect::Redirector& r, const std::string& name, uint64_t times);
// Waits for a condition, 5 s at most.
bool eventually(const std::function<bool()>& condition);

// One enrolled netns with a proxy listening in it.
struct Pod {
  std::string netns;
  redirect::Workload workload;
  Fd out4, out6, in4, in6;
  std::vector<Fd> more;  // other members of the groups

  void close_all() { out4.reset(), out6.reset(), in4.reset(), in6.reset(), more.clear(); }
};
redirect::WorkloadSpec spec_for(const std::string& name, const std::string& netns);
void start_proxy(redirect::Redirector& r, Pod& pod);

// An attached Redirector, one enrolled pod ("pod"), a proxy in it.
struct World {
  Host host;
  std::unique_ptr<redirect::Redirector> redirector;
  Pod pod;

  explicit World(const std::function<void(redirect::WorkloadSpec&)>& change = nullptr,
                 const std::function<void(redirect::Options&)>& tune = nullptr);
};

}  // namespace sluice::test
