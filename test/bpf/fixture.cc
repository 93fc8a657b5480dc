#include "fixture.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <thread>

#include "core/log.h"
#include "redirect/host.h"
#include "redirect/netns.h"

namespace sluice::test {
namespace {

constexpr int kDeadlineMs = 5000;

void shell(const std::string& command) {
  INFO(command);
  REQUIRE(std::system(command.c_str()) == 0);
}

std::string own_cgroup_dir(const std::string& root) {
  std::ifstream in("/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line))
    if (line.starts_with("0::")) return root + line.substr(3);
  return root;
}

}  // namespace

bool can_run() {
  if (::geteuid() == 0) return true;
  const char* insist = std::getenv("SLUICE_TEST_REQUIRE_ROOT");
  REQUIRE_MESSAGE(!(insist && *insist == '1'), "this test needs root, and root is required here");
  MESSAGE("skipped: needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)");
  return false;
}

Host::Host() {
  (void)log::init(log::Level::warn);
  static int serial = 0;
  std::string name = "sluice-test-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
  auto root = redirect::find_cgroup2();
  REQUIRE(root.ok());
  cgroup_before_ = own_cgroup_dir(*root);
  cgroup_ = *root + "/" + name;
  REQUIRE(::mkdir(cgroup_.c_str(), 0755) == 0);
  enter_cgroup(cgroup_);
  dir_ = "/tmp/" + name;
  REQUIRE(redirect::make_dirs(dir_).ok());
}

Host::~Host() {
  (void)redirect::uninstall(options());
  enter_cgroup(cgroup_before_);
  for (auto it = children_.rbegin(); it != children_.rend(); ++it) ::rmdir(it->c_str());
  ::rmdir(cgroup_.c_str());
  for (const auto& path : netns_) redirect::unbind_netns(path);
  ::umount2((dir_ + "/bpf").c_str(), MNT_DETACH);
  redirect::remove_tree(dir_);
}

redirect::Options Host::options() const {
  redirect::Options o;
  o.bpffs_root = dir_ + "/bpf";
  o.cgroup_path = cgroup_;
  o.state_dir = dir_ + "/run";
  return o;
}

uint64_t Host::cgroup_id() const {
  return *redirect::cgroup_id_of(cgroup_);
}

std::string Host::make_child_cgroup(const std::string& name) {
  std::string path = cgroup_ + "/" + name;
  REQUIRE(::mkdir(path.c_str(), 0755) == 0);
  children_.push_back(path);
  return path;
}

void Host::enter_cgroup(const std::string& path) {
  std::ofstream out(path + "/cgroup.procs");
  out << ::getpid() << std::flush;
  CHECK_MESSAGE(out.good(), path);
}

std::string Host::make_netns(const std::string& name) {
  std::string path = dir_ + "/ns-" + name;
  std::thread([&] {
    CHECK(::unshare(CLONE_NEWNET) == 0);
    Fd self(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    CHECK(redirect::bind_netns(self.get(), path).ok());
    Fd s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq lo{};
    lo.ifr_name[0] = 'l', lo.ifr_name[1] = 'o';
    lo.ifr_flags = IFF_UP;
    CHECK(::ioctl(s.get(), SIOCSIFFLAGS, &lo) == 0);
  }).join();
  netns_.push_back(path);
  return path;
}

void Host::drop_netns(const std::string& name) {
  redirect::unbind_netns(dir_ + "/ns-" + name);
}

void Host::join(const std::string& a, const std::string& b) {
  std::string in_a = "nsenter --net=" + dir_ + "/ns-" + a + " ",
              in_b = "nsenter --net=" + dir_ + "/ns-" + b + " ";
  // The other end is moved by the inherited namespace file: `ip` takes names and pids only.
  shell(in_a + "ip link add eth0 type veth peer name eth1");
  std::string move = in_b +
                     "sleep 60 & peer=$!; while [ \"$(readlink /proc/$peer/ns/net)\" = \"$(readlink "
                     "/proc/self/ns/net)\" ]; do :; done; " +
                     in_a + "ip link set eth1 netns $peer; code=$?; kill $peer; wait $peer; exit $code";
  shell("bash -c '" + move + "' 2>/dev/null");
  shell(in_a +
        "sh -c 'ip addr add 10.77.0.1/24 dev eth0 && ip -6 addr add fd77::1/64 dev eth0 nodad && ip link set "
        "eth0 up'");
  shell(in_b +
        "sh -c 'ip addr add 10.77.0.2/24 dev eth1 && ip -6 addr add fd77::2/64 dev eth1 nodad && ip link set "
        "eth1 up'");
}

void Host::in(const std::string& netns, const std::function<void()>& fn) {
  auto fd = redirect::open_netns(netns);
  REQUIRE(fd.ok());
  std::exception_ptr thrown;  // REQUIRE throws; it has to end the test, not the thread
  Status s = redirect::run_in_netns(fd->get(), [&]() -> Status {
    try {
      fn();
    } catch (...) {
      thrown = std::current_exception();
    }
    return {};
  });
  if (thrown) std::rethrow_exception(thrown);
  REQUIRE(s.ok());
}

Address addr(const std::string& text) {
  auto a = Address::parse(text);
  REQUIRE(a.ok());
  return *a;
}

Address mapped(const std::string& v4_text) {
  Address v4 = addr(v4_text);
  std::array<uint8_t, 16> bytes{};
  bytes[10] = bytes[11] = 0xff;
  std::memcpy(bytes.data() + 12, v4.ip().bytes().data(), 4);
  return Address(IpAddress::v6(bytes), v4.port());
}

Fd listen_on(const std::string& address, uint16_t port, bool reuseport, bool v6only) {
  Address a(*IpAddress::parse(address), port);
  Fd fd(::socket(a.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int one = 1, only = v6only;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (reuseport) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
  if (a.family() == AF_INET6) ::setsockopt(fd.get(), SOL_IPV6, IPV6_V6ONLY, &only, sizeof(only));
  CHECK_MESSAGE(::bind(fd.get(), a.sockaddr_ptr(), a.len()) == 0, a.to_string(), " errno ", errno);
  CHECK(::listen(fd.get(), 1024) == 0);
  return fd;
}

Fd socket_for(int family, uint32_t mark) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(fd.valid());
  if (mark) CHECK(::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) == 0);
  timeval limit{.tv_sec = kDeadlineMs / 1000, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return fd;
}

int connect_errno(int fd, const Address& to) {
  return ::connect(fd, to.sockaddr_ptr(), to.len()) == 0 ? 0 : errno;
}

Fd accept_one(int listener) {
  pollfd p{.fd = listener, .events = POLLIN, .revents = 0};
  int n = ::poll(&p, 1, kDeadlineMs);
  CHECK_MESSAGE(n == 1, "nobody connected");
  return n == 1 ? Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) : Fd();
}

bool nothing_to_accept(int listener) {
  pollfd p{.fd = listener, .events = POLLIN, .revents = 0};
  return ::poll(&p, 1, 0) == 0;
}

Address local_of(int fd) {
  Address a;
  socklen_t len = Address::capacity();
  if (::getsockname(fd, a.sockaddr_ptr(), &len) == 0) a.set_len(len);
  return a;
}

Address peer_of(int fd) {
  Address a;
  socklen_t len = Address::capacity();
  if (::getpeername(fd, a.sockaddr_ptr(), &len) == 0) a.set_len(len);
  return a;
}

uint64_t counter(const redirect::Redirector& r, const std::string& name) {
  for (const auto& c : r.counters())
    if (c.name == name) return c.value;
  FAIL("no counter " << name);
  return 0;
}

bool decided(const redirect::Redirector& r, const std::string& name, uint64_t times) {
  if (counter(r, name) >= times) return true;
  for (const auto& c : r.counters())
    if (c.value > 0) MESSAGE(c.name << " " << c.value);
  return false;
}

bool eventually(const std::function<bool()>& condition) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kDeadlineMs);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

redirect::WorkloadSpec spec_for(const std::string& name, const std::string& netns) {
  redirect::WorkloadSpec spec;
  spec.name = name;
  spec.netns_path = netns;
  return spec;
}

void start_proxy(redirect::Redirector& r, Pod& pod) {
  Host::in(pod.netns, [&] {
    pod.out4 = listen_on("0.0.0.0", r.options().outbound_port, true);
    pod.out6 = listen_on("::", r.options().outbound_port, true);
    pod.in4 = listen_on("0.0.0.0", r.options().inbound_port, true);
    pod.in6 = listen_on("::", r.options().inbound_port, true);
  });
  Status s = r.set_listeners(pod.workload.netns_cookie, {.outbound_v4 = pod.out4.get(),
                                                         .outbound_v6 = pod.out6.get(),
                                                         .inbound_v4 = pod.in4.get(),
                                                         .inbound_v6 = pod.in6.get()});
  REQUIRE_MESSAGE(s.ok(), (s.ok() ? "" : s.error().message));
}

World::World(const std::function<void(redirect::WorkloadSpec&)>& change,
             const std::function<void(redirect::Options&)>& tune) {
  redirect::Options options = host.options();
  if (tune) tune(options);
  auto r = redirect::Redirector::attach(options);
  REQUIRE_MESSAGE(r.ok(), (r.ok() ? "" : r.error().message));
  redirector = std::move(*r);
  REQUIRE(redirector->set_proxy_identity(host.cgroup_id()).ok());
  pod.netns = host.make_netns("pod");
  auto spec = spec_for("pod", pod.netns);
  if (change) change(spec);
  auto w = redirector->enrol(spec);
  REQUIRE_MESSAGE(w.ok(), (w.ok() ? "" : w.error().message));
  pod.workload = *w;
  start_proxy(*redirector, pod);
}

}  // namespace sluice::test
