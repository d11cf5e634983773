"""What the starters of S3 servers ask their own servers."""


def client(port):
    # Slow to load, and not always needed. Any S3 client does; moto, which the tests need, brings this one.
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )


def keys(port, bucket):
    """The keys of all objects of a bucket."""
    pages = client(port).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]
