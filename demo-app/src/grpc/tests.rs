//! The committed code is that of the .proto file.

use std::{fs, path::Path};

/// Run it with `BLESS=1` after a change of the .proto file, or of the generators' versions.
#[test]
fn grpc_generated_code_is_that_of_the_proto_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("proto")]).unwrap();
    // With the comments, which reflection shows.
    compiler.include_source_info(true).include_imports(true).open_file("demo/v1/identity.proto").unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(out.path())
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
    let code = fs::read(out.path().join("demo.v1.rs")).unwrap();
    for (name, generated) in [("demo.v1.rs", code), ("demo.v1.fds", compiler.encode_file_descriptor_set())] {
        let path = root.join("src/grpc/generated").join(name);
        if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
            fs::write(&path, &generated).unwrap();
        }
        let path = path.display();
        assert!(fs::read(path.to_string()).unwrap() == generated, "{path} is outdated; run this test with BLESS=1");
    }
}
