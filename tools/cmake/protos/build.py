#!/usr/bin/env python3
"""Makes libsluice_protos.a and its headers: Envoy's v3 API as C++.

The API comes as a Python package (requirements.txt, pinned with its hash). Every *_pb2.py in it holds its file descriptor as one
bytes literal; this takes the literals out, keeps what roots.txt reaches, and hands the set to protoc. The result depends on nothing in
the checkout but this folder, so it lives in the cache, in a folder named by a hash of everything that went in, and every clone and every
kind of build (sanitizers too) shares it.

  build.py --cache DIR --cxx COMPILER --print-dir    where the result is or will be; builds nothing
  build.py --cache DIR --cxx COMPILER                builds it unless it is there
  build.py --cache DIR --fetch                       only downloads the package
"""

import argparse
import ast
import concurrent.futures
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ['-std=c++20', '-O1', '-g0', '-fPIC', '-w', '-DNDEBUG', '-ffunction-sections', '-fdata-sections']
UNITS = 8  # translation units: few, since reading the headers is most of the work; several, for the cores
WELL_KNOWN = ['any', 'api', 'descriptor', 'duration', 'empty', 'field_mask', 'source_context', 'struct', 'timestamp', 'type',
              'wrappers']


def fail(text):
    sys.exit(f'build.py: {text}')


def run(command, **kw):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, **kw).stdout
    except FileNotFoundError:
        fail(f'{command[0]} is not installed; run tools/setup')
    except subprocess.CalledProcessError as e:
        fail(f'{" ".join(map(str, command[:6]))} ... failed:\n{e.stdout[-2000:]}{e.stderr[-6000:]}')


def key(compiler):
    """A hash of all that decides the result."""
    h = hashlib.sha256()
    for name in ('requirements.txt', 'roots.txt', 'build.py'):
        h.update((HERE / name).read_bytes() + b'\0')
    for command in ([compiler, '--version'], ['protoc', '--version']):
        h.update(run(command).encode() + b'\0')
    return h.hexdigest()[:16]


def fetch(cache):
    """The package's wheel in the cache, downloaded with its hash checked when it is not there."""
    pin = next(line for line in (HERE / 'requirements.txt').read_text().splitlines() if line and line[0] != '#')
    name, version, sha = pin.split()[0].split('==') + [pin.rsplit(':', 1)[1]]
    downloads = cache / 'downloads'
    downloads.mkdir(parents=True, exist_ok=True)

    def found():
        for wheel in downloads.glob(f'{name.replace("-", "_")}-{version}-*.whl'):
            if hashlib.sha256(wheel.read_bytes()).hexdigest() == sha:
                return wheel
        return None

    wheel = found()
    if not wheel:
        run([sys.executable, '-m', 'pip', '--disable-pip-version-check', '-q', 'download', '--no-deps', '--require-hashes',
             '-d', str(downloads), '-r', str(HERE / 'requirements.txt')])
        wheel = found()
    return wheel or fail(f'{name} {version} was downloaded, but no wheel with the pinned hash is in {downloads}')


def varint(data, i):
    value = shift = 0
    while True:
        byte = data[i]
        i += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, i


def encode_varint(n):
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def outline(descriptor):
    """(file name, imported files) of a serialized FileDescriptorProto: fields 1 and 3."""
    i, name, imports = 0, '', []
    while i < len(descriptor):
        tag, i = varint(descriptor, i)
        kind = tag & 7
        if kind == 2:
            size, i = varint(descriptor, i)
            if tag >> 3 == 1:
                name = descriptor[i:i + size].decode()
            elif tag >> 3 == 3:
                imports.append(descriptor[i:i + size].decode())
            i += size
        elif kind == 0:
            _, i = varint(descriptor, i)
        else:
            i += 8 if kind == 1 else 4
    return name, imports


def descriptors(wheel):
    """{file name: (serialized FileDescriptorProto, imports)} of every module in the wheel."""
    files = {}
    with zipfile.ZipFile(wheel) as z:
        for entry in z.namelist():
            if not entry.endswith('_pb2.py'):
                continue
            for node in ast.walk(ast.parse(z.read(entry))):
                if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'AddSerializedFile':
                    data = ast.literal_eval(node.args[0])
                    name, imports = outline(data)
                    files[name] = (data, imports)
    return files


def reachable(files):
    roots = [line.strip() for line in (HERE / 'roots.txt').read_text().splitlines()]
    queue = [line for line in roots if line and not line.startswith('#')]
    seen = set()
    while queue:
        name = queue.pop()
        if name in seen or name.startswith('google/protobuf/'):
            continue
        if name not in files:
            fail(f'{name} (roots.txt, or imported from there) is not in the package')
        seen.add(name)
        queue += files[name][1]
    return sorted(seen)


def generate(wheel, out):
    """Writes OUT/include/**.pb.{h,cc} and OUT/api.binpb (a FileDescriptorSet); returns the .proto names."""
    files = descriptors(wheel)
    names = reachable(files)
    include = next((d for d in ('/usr/include', '/usr/local/include')
                    if os.path.exists(f'{d}/google/protobuf/any.proto')), None)
    if not include:
        fail("protobuf's own .proto files are missing; run tools/setup")
    api = out / 'api.binpb'
    run(['protoc', f'--descriptor_set_out={api}', f'-I{include}'] + [f'google/protobuf/{n}.proto' for n in WELL_KNOWN])
    with open(api, 'ab') as f:
        for name in names:
            f.write(b'\n' + encode_varint(len(files[name][0])) + files[name][0])
    (out / 'include').mkdir()
    run(['protoc', f'--descriptor_set_in={api}', f'--cpp_out={out / "include"}'] + names)
    return names


def write_units(names, out):
    """Groups the sources into UNITS files of like size. protoc gives two file-local tables the same name in each: renamed."""
    generated = sorted(((out / 'include' / n).with_suffix('.pb.cc').stat().st_size, n[:-len('.proto')]) for n in names)
    bins = [[0, []] for _ in range(UNITS)]
    for size, stem in reversed(generated):
        smallest = min(bins)
        smallest[0] += size
        smallest[1].append(stem)
    units = []
    for i, (_, stems) in enumerate(bins):
        text = ''.join(f'#include "{s}.pb.h"\n' for s in stems)
        for s in stems:
            text += f'#define schemas schemas_{i}_{stems.index(s)}\n'
            text += f'#define file_default_instances file_default_instances_{i}_{stems.index(s)}\n'
            text += f'#include "{s}.pb.cc"\n#undef schemas\n#undef file_default_instances\n'
        units.append(out / f'unit{i}.cc')
        units[-1].write_text(text)
    # A static library drops what nobody names, and with it the messages that only an Any would name: name them all.
    tables = ['descriptor_table_' + ''.join(c if c.isalnum() else '_%x' % ord(c) for c in n)
              for n in names]
    link = out / 'link.cc'
    link.write_text('#include <google/protobuf/generated_message_reflection.h>\n'
                    + ''.join(f'extern const ::google::protobuf::internal::DescriptorTable {t};\n' for t in tables)
                    + 'namespace sluice::protos {\nint link_all() {\n  const void* volatile tables[] = {\n'
                    + ''.join(f'      &{t},\n' for t in tables)
                    + f'  }};\n  return tables[0] != nullptr ? {len(tables)} : 0;\n}}\n}}\n')
    return units + [link]


def compile_all(compiler, units, out):
    def one(unit):
        run([compiler, *FLAGS, f'-I{out / "include"}', '-c', str(unit), '-o', str(unit.with_suffix('.o'))])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, future in enumerate(concurrent.futures.as_completed(pool.submit(one, u) for u in units)):
            future.result()
            print(f'  protos: {done + 1}/{len(units)} compiled', flush=True)
    ar = shutil.which('llvm-ar-19') or 'ar'
    run([ar, 'rcs', str(out / 'libsluice_protos.a')] + [str(u.with_suffix('.o')) for u in units])
    for unit in units:
        unit.unlink()
        unit.with_suffix('.o').unlink()
    for source in (out / 'include').rglob('*.pb.cc'):
        source.unlink()


def build(cache, compiler, target):
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / 'protos.lock', 'w') as lock:  # two clones building at once: the second waits and finds it done
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        print(f'  protos: making the library of Envoy\'s API, once, in {target}', flush=True)
        wheel = fetch(cache)
        out = pathlib.Path(tempfile.mkdtemp(prefix='protos-tmp-', dir=cache))
        try:
            out.chmod(0o755)
            names = generate(wheel, out)
            compile_all(compiler, write_units(names, out), out)
            out.rename(target)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        print(f'  protos: {len(names)} files, done', flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--cache', required=True, type=pathlib.Path)
    p.add_argument('--cxx')
    p.add_argument('--print-dir', action='store_true')
    p.add_argument('--fetch', action='store_true')
    a = p.parse_args()
    if a.fetch:
        fetch(a.cache)
        return
    if not a.cxx:
        fail('--cxx is missing')
    target = a.cache / f'protos-{key(a.cxx)}'
    if a.print_dir:
        print(target)
    else:
        build(a.cache, a.cxx, target)


main()
