import time, subprocess, sys
def test_it(operated):
    print(operated.kinds)
    for cmd in (["jobs","--json"],["explain",f"gs://{operated.world.bucket}/calls/1/01.wav"],["explain",f"gs://{operated.world.bucket}/held/1.wav"],["explain",f"gs://{operated.world.bucket}/silent/1.wav"],["explain",f"gs://{operated.world.bucket}/cursed/1.wav"],["explain",f"gs://{operated.world.bucket}/waiting/1.wav"],["explain",f"gs://{operated.world.bucket}/replaced/1.wav"],["explain",f"gs://{operated.world.bucket}/nothing.wav"],["forget",f"gs://{operated.world.bucket}/calls/1/01.wav","--dry-run"]):
        t=time.time()
        out=subprocess.run([sys.executable,"-m","subscriber",*cmd],env=operated.environ,capture_output=True,text=True)
        print(cmd, out.returncode, time.time()-t); print(out.stdout[-1500:], out.stderr[-2000:])
    operated.environ["COLUMNS"]="160"
    assert 0
