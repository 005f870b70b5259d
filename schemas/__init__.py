"""The records that flow through the mill, their Arrow form, clocks, errors and shard layout.

Nothing here imports another part of Clipmill, and nothing here touches media, models or Ray.
"""
