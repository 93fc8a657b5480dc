#include "redirect/state.h"

#include <unistd.h>

#include <cerrno>

#include "core/log.h"
#include "redirect/host.h"
#include "redirect/json.h"
#include "redirect/netns.h"

namespace sluice::redirect {
namespace {

std::string file_name(const std::string& name) {
  std::string out;
  for (char c : name) {
    if (c == '/')
      out += "%2F";
    else
      out += c;
  }
  return out;
}

}  // namespace

Result<Fd> open_netns_of(const WorkloadState& s) {
  std::string handle = s.netns_handle.empty() ? s.spec.netns_path : s.netns_handle;
  if (auto inode = netns_inode(handle); !inode.ok() || *inode != s.netns_inode)
    handle = find_netns(s.netns_inode);
  if (handle.empty()) return Error{"the network namespace of " + s.spec.name + " is gone", ENOENT};
  return open_netns(handle);
}

Status StateDir::prepare() const {
  SLUICE_TRY(make_dirs(dir_ + "/workloads"));
  return make_dirs(dir_ + "/netns");
}

std::string StateDir::workload_path(const std::string& name) const {
  return dir_ + "/workloads/" + file_name(name) + ".json";
}

std::string StateDir::handle_path(const std::string& name) const {
  return dir_ + "/netns/" + file_name(name);
}

Status StateDir::save(const WorkloadState& state) const {
  Json j = Json::object();
  j.set("netns_cookie", state.netns_cookie).set("netns_inode", state.netns_inode).set("id", state.id);
  if (state.fwmark_accept_before)
    j.set("return_path", Json::object().set("tcp_fwmark_accept_before", *state.fwmark_accept_before));
  j.set("netns_handle", state.netns_handle).set("spec", to_json(state.spec));
  return write_file_atomically(workload_path(state.spec.name), j.dump(true) + "\n");
}

void StateDir::remove(const std::string& name) const {
  unbind_netns(handle_path(name));
  ::unlink(workload_path(name).c_str());
}

namespace {

std::optional<WorkloadState> read_state(const std::string& path) {
  auto read = [&]() -> Result<WorkloadState> {
    SLUICE_ASSIGN(std::string text, read_file(path));
    SLUICE_ASSIGN(Json j, Json::parse(text));
    WorkloadState s;
    SLUICE_ASSIGN(s.spec, spec_from_json(j["spec"]));
    s.netns_cookie = static_cast<uint64_t>(j["netns_cookie"].as_int());
    s.netns_inode = static_cast<uint64_t>(j["netns_inode"].as_int());
    s.id = static_cast<uint32_t>(j["id"].as_int());
    s.netns_handle = j["netns_handle"].as_string();
    if (const Json& path = j["return_path"]; path.is_object())
      s.fwmark_accept_before = static_cast<int>(path["tcp_fwmark_accept_before"].as_int());
    return s;
  };
  auto state = read();
  if (state.ok()) return std::move(*state);
  SLUICE_LOG(redirect, warn, "state file {} is skipped: {}", path, state.error().message);
  return std::nullopt;
}

}  // namespace

std::vector<WorkloadState> StateDir::load() const {
  std::vector<WorkloadState> out;
  for (const auto& file : list_dir(dir_ + "/workloads")) {
    if (!file.ends_with(".json")) continue;
    if (auto state = read_state(dir_ + "/workloads/" + file)) out.push_back(std::move(*state));
  }
  return out;
}

std::optional<WorkloadState> StateDir::load(const std::string& name) const {
  const std::string path = workload_path(name);
  if (::access(path.c_str(), F_OK) != 0) return std::nullopt;
  return read_state(path);
}

}  // namespace sluice::redirect
