#include "tls/ca.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>

#include "command.h"
#include "core/fd.h"
#include "output.h"
#include "tls/check.h"

namespace sluice::ctl {
namespace {

constexpr const char *kCertificate = "/ca-cert.pem", *kKey = "/ca-key.pem";

WallTime now() {
  // check-allow: what validity is counted from; sluicectl has no loop
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

Result<std::string> read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return errno_error(errno, path);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

// Beside it first, then renamed: who watches the folder sees whole files. What is secret was never readable by others.
Status write(const std::string& path, const std::string& content, bool secret) {
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, secret ? 0600 : 0644));
  if (!fd.valid()) return errno_error(errno, fresh);
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0) return errno_error(errno, fresh);
    done += static_cast<size_t>(n);
  }
  if (::fsync(fd.get()) != 0) return errno_error(errno, fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return errno_error(errno, path);
  return {};
}

Status make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return errno_error(errno, path);
  return {};
}

Result<tls::DevelopmentCa> load(const std::string& dir) {
  SLUICE_ASSIGN(std::string certificate, read(dir + kCertificate));
  SLUICE_ASSIGN(std::string key, read(dir + kKey));
  return tls::DevelopmentCa::load(std::move(certificate), std::move(key));
}

// "90m", "24h", "30d", "45s"
Result<Duration> duration(const std::string& text) {
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  const std::string unit = text.substr(digits);
  const int64_t factor = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : unit == "d" ? 86400 : 0;
  const int64_t n = digits > 0 && digits <= 6 ? std::stoll(text.substr(0, digits)) : 0;
  if (factor == 0 || n == 0 || n * factor > int64_t{3650} * 86400)
    return Error{"\"" + text + "\" is no time of up to ten years such as 90m, 24h or 30d", EINVAL};
  return Duration(std::chrono::seconds(n * factor));
}

std::string date(WallTime t) {
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Result<int> init(const Context& context, const std::string& dir, const cxxopts::ParseResult& args) {
  if (::access((dir + kKey).c_str(), F_OK) == 0)
    return Error{dir + kKey +
                 " is there already: what it has issued would be trusted no more. Take another folder"};
  tls::DevelopmentCa::Options options;
  options.trust_domain = args["trust-domain"].as<std::string>();
  options.constrained = !args.count("unconstrained");
  SLUICE_ASSIGN(const auto ca, tls::DevelopmentCa::make(options, now()));
  SLUICE_TRY(make_folder(dir));
  SLUICE_TRY(write(dir + kKey, ca.private_key(), true));
  SLUICE_TRY(write(dir + kCertificate, ca.certificate(), false));
  if (context.json) {
    print_json(Json::object().set("certificate", dir + kCertificate).set("key", dir + kKey));
    return 0;
  }
  std::printf(
      "A CA for DEVELOPMENT, of the trust domain %s: %s and %s\n"
      "Whoever can read the key can be every workload of that trust domain.\n",
      options.trust_domain.c_str(), (dir + kCertificate).c_str(), (dir + kKey).c_str());
  return 0;
}

Result<int> issue(const Context& context, const std::string& dir, const cxxopts::ParseResult& args) {
  if (!args.count("identity") || !args.count("out"))
    return usage_error(kCa, "ca issue needs --identity and --out");
  SLUICE_ASSIGN(const auto ca, load(dir));
  SLUICE_ASSIGN(const Duration ttl, duration(args["ttl"].as<std::string>()));
  tls::DevelopmentCa::Request request{
      .identity = args["identity"].as<std::string>(), .ttl = ttl, .now = now()};
  if (args.count("dns")) request.dns_names = args["dns"].as<std::vector<std::string>>();
  SLUICE_ASSIGN(const auto made, ca.issue(request));
  const std::string out = args["out"].as<std::string>();
  SLUICE_TRY(make_folder(out));
  SLUICE_TRY(write(out + "/key.pem", made.private_key, true));
  SLUICE_TRY(write(out + "/root-cert.pem", ca.certificate(), false));
  SLUICE_TRY(write(out + "/cert-chain.pem", made.chain, false));
  SLUICE_ASSIGN(const auto said, tls::summarize(made.chain));
  const std::string until = date(said.front().not_after);
  if (context.json)
    print_json(Json::object().set("identity", request.identity).set("folder", out).set("expires", until));
  else
    std::printf("%s until %s: cert-chain.pem, key.pem and root-cert.pem in %s\n", request.identity.c_str(),
                until.c_str(), out.c_str());
  return 0;
}

Result<int> show(const Context& context, const std::string& dir) {
  SLUICE_ASSIGN(const auto ca, load(dir));
  SLUICE_ASSIGN(const auto said, tls::summarize(ca.certificate()));
  struct stat mode{};
  const bool open = ::stat((dir + kKey).c_str(), &mode) == 0 && (mode.st_mode & 077) != 0;
  if (context.json) {
    print_json(Json::object()
                   .set("serial", said.front().serial)
                   .set("trust_domain", ca.trust_domain())
                   .set("expires", date(said.front().not_after))
                   .set("key_readable_by_others", open));
    return open ? 1 : 0;
  }
  std::printf("A CA for development.\nissues for    %s\nserial        %s\nvalid         %s to %s\n",
              ca.trust_domain().empty() ? "every trust domain" : ca.trust_domain().c_str(),
              said.front().serial.c_str(), date(said.front().not_before).c_str(),
              date(said.front().not_after).c_str());
  if (open) std::printf("WARNING: others may read %s: chmod 600 it\n", (dir + kKey).c_str());
  return open ? 1 : 0;
}

void options(cxxopts::Options& o) {
  o.add_options()("trust-domain", "init: of the identities it issues",
                  cxxopts::value<std::string>()->default_value("cluster.local"),
                  "NAME")("unconstrained", "init: let it issue for any trust domain")(
      "identity", "issue: for whom", cxxopts::value<std::string>(), "spiffe://TD/ns/NS/sa/SA")(
      "dns", "issue: DNS names beside", cxxopts::value<std::vector<std::string>>(), "NAME,...")(
      "out", "issue: the folder for cert-chain.pem, key.pem and root-cert.pem", cxxopts::value<std::string>(),
      "DIR")("ttl", "issue: how long it is good", cxxopts::value<std::string>()->default_value("24h"),
             "TIME");
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  auto words =
      args.count("arguments") ? args["arguments"].as<std::vector<std::string>>() : std::vector<std::string>{};
  if (words.size() != 2) return usage_error(kCa, "ca needs a word and a folder");
  if (words[0] == "init") return init(context, words[1], args);
  if (words[0] == "issue") return issue(context, words[1], args);
  if (words[0] == "show") return show(context, words[1]);
  return usage_error(kCa, "there is no `ca " + words[0] + "`");
}

}  // namespace

const Command kCa = {
    "ca",
    "init|issue|show DIR",
    "a certificate authority for DEVELOPMENT: identities without istiod or SPIRE",
    "`init` makes a P-256 root in DIR (ca-cert.pem, and ca-key.pem that its owner alone can "
    "read). `issue` makes a key and a\n"
    "certificate for a SPIFFE ID, in files as Istio names them; what watches the folder takes them "
    "at once. There is no\n"
    "revocation and no proof of who asks: production has istiod or SPIRE.\n\n"
    "Example:\n"
    "  sluicectl ca init /etc/sluice/ca\n"
    "  sluicectl ca issue /etc/sluice/ca --identity spiffe://cluster.local/ns/shop/sa/cart "
    "--out /run/secrets/cart",
    options,
    run};

}  // namespace sluice::ctl
