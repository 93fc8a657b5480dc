#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/stats.h"
#include "io/loop.h"
#include "redirect/types.h"
#include "server/authorities.h"
#include "xds/file_watch.h"
#include "xds/secret_watch.h"
#include "xds/workload_secrets.h"

namespace sluice::server {

// Who each enrolled workload is: gets its certificate and its CA from the workload's own source, looks whether the
// certificate is its own and valid, and hands both to WorkloadSecrets. What cannot be used is not replaced by anything:
// the workload's connections fail, and the reason is in the log, in statistics and in `sluicectl workloads`.
// Control thread.
class Identities {
 public:
  // Where a workload's SDS socket is spoken to.
  class SdsClusters {
   public:
    virtual Result<model::ConfigSource> open(const std::string& socket_path) = 0;
    virtual void close(const std::string& socket_path) = 0;

   protected:
    ~SdsClusters() = default;
  };
  struct View {
    std::string identity, source;  // "files /run/secrets/cart"
    std::optional<WallTime> expires;  // of the certificate in use; nothing: there is none
    std::string reason;  // why there is none, or why the newest one was not taken; "": all is well
  };

  // `around`: for SDS; its factory is there. All outlive this.
  Identities(io::Loop& loop, const stats::Scope& root, const xds::SecretSurroundings& around,
             std::shared_ptr<xds::WorkloadSecrets> secrets, SdsClusters& clusters);
  ~Identities();

  // Whether the workload could be who it says, as far as is known now: an error says why not. Nothing is kept.
  Status check(const redirect::WorkloadSpec& spec) const;
  // Begins, or changes; the same again is nothing. One without a source of its own is forgotten.
  void put(uint64_t workload, const redirect::WorkloadSpec& spec);
  void forget(uint64_t workload);
  void retain(const std::function<bool(uint64_t workload)>& enrolled);  // forgets all others
  // Folders that were not there are looked for again.
  void retry();
  std::optional<View> view(uint64_t workload) const;
  // f(where its certificate comes from, certificate and CA) of each that is usable.
  void for_each_in_use(const std::function<void(const std::string&, const config::Secret&)>& f) const;

 private:
  struct Entry;
  struct Material {
    std::shared_ptr<const tls::Certificate> certificate;
    std::shared_ptr<const tls::Validation> trust;
    WallTime expires{};
    std::shared_ptr<const Authority> issuer = nullptr;  // null: no development CA's
  };
  Result<Material> load(const redirect::WorkloadSpec& spec) const;
  Result<Material> accept(const std::string& identity, const config::Secret& certificate,
                          const config::Secret& trust) const;
  void count();

  io::Loop& loop_;
  xds::SecretSurroundings sds_;  // with statistics of its own, for all workloads together
  const std::shared_ptr<xds::WorkloadSecrets> secrets_;
  SdsClusters& clusters_;
  mutable Authorities authorities_;  // a cache
  std::map<uint64_t, std::unique_ptr<Entry>> all_;
  stats::Gauge usable_, unusable_;
  stats::Counter rotated_, refused_, expired_;
};

}  // namespace sluice::server
